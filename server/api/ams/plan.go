package ams

import (
	"gantry/server/broker"
)

// PlanRequest is a plan (configure template) as addConfiguretemplate and updateConfiguretemplate take it; what is not sent is left
// to the order.
type PlanRequest struct {
	ID               int64     `json:"configureTemplateId" alias:"id" rule:"min=0" doc:"the plan; for updates only"`
	Name             string    `json:"name" rule:"max=100" doc:"for people"`
	Sockets          *int      `json:"sockets" doc:"CPU sockets"`
	Cores            *int      `json:"cores" doc:"cores a socket"`
	Threads          *int      `json:"threads" doc:"threads a core"`
	Devirtualization *bool     `json:"devirtualization" doc:"hide the hypervisor from the guest"`
	KVM              *bool     `json:"kvm" doc:"hardware virtualisation"`
	CPUModel         *int64    `json:"cpuModel" rule:"min=0" doc:"CPU model; 0 = none"`
	ModelGroup       *int64    `json:"modelGroup" rule:"min=0" doc:"model group, goes before cpuModel; 0 = none"`
	Nested           *bool     `json:"nested" doc:"nested virtualisation; cpu must be host or max then"`
	CPU              string    `json:"cpu" rule:"max=64" doc:"CPU type, see /api/common/cpuType"`
	CPUUnits         *int      `json:"cpuUnits" rule:"min=0,max=500000" doc:"CPU limit in percent of the cores; 0, or 100 and more = unlimited"`
	BandwidthOfIO    *int64    `json:"bwlimit" rule:"min=0,max=10000000" doc:"disk limit in MB/s; 0 = unlimited"`
	Arch             string    `json:"arch" rule:"max=16" doc:"x86_64, arrch64 or aarch64"`
	ACPI             *bool     `json:"acpi" doc:"ACPI"`
	Memory           *int      `json:"memory" doc:"memory in MB"`
	Storage          string    `json:"storage" rule:"max=100" doc:"storage of the system disk; auto: the one with most room"`
	SystemDiskSize   *int      `json:"systemDiskSize" doc:"system disk in GB"`
	DataDisks        DataDisks `json:"dataDisk" doc:"data disks by number: size in GB, \"storage:size\" or {\"size\":…,\"storage\":…}"`
	Bandwidth        *int      `json:"bandwidth" rule:"min=0" doc:"network limit in Mbps; 0 = unlimited"`
	OnBoot           *bool     `json:"onBoot" doc:"start with the node"`
}

// Plan turns the request into a plan.
func (p *PlanRequest) Plan() *broker.Plan {
	percent := p.CPUUnits
	if percent != nil && *percent > 100 { // see VMParams.Order
		percent = new(0)
	}
	return &broker.Plan{ID: p.ID, Name: p.Name, Hardware: broker.Hardware{
		Sockets: p.Sockets, Cores: p.Cores, Threads: p.Threads, CPUPercent: percent, CPUType: p.CPU, Nested: p.Nested,
		Devirtualization: p.Devirtualization, KVM: p.KVM, Arch: p.Arch, ACPI: p.ACPI, MemoryMB: p.Memory, Storage: p.Storage,
		SystemDiskGB: p.SystemDiskSize, DataDisks: p.DataDisks, DiskMBps: p.BandwidthOfIO, BandwidthMbps: p.Bandwidth,
		OnBoot: p.OnBoot, CPUModel: p.CPUModel, ModelGroup: p.ModelGroup,
	}}
}

// Plan is a plan in lists; null is what it leaves to the order.
type Plan struct {
	ID               int64          `json:"id"`
	Name             string         `json:"name"`
	Sockets          *int           `json:"sockets"`
	Cores            *int           `json:"cores"`
	Threads          *int           `json:"threads"`
	Devirtualization *bool          `json:"devirtualization"`
	KVM              *bool          `json:"kvm"`
	CPUModel         *int64         `json:"cpuModel"`
	ModelGroup       *int64         `json:"modelGroup"`
	Nested           *bool          `json:"nested"`
	CPU              string         `json:"cpu"`
	CPUUnits         *int           `json:"cpuUnits"`
	BandwidthOfIO    *int64         `json:"bwlimit"`
	Arch             string         `json:"arch"`
	ACPI             *int           `json:"acpi"`
	Memory           *int           `json:"memory"`
	Storage          string         `json:"storage"`
	SystemDiskSize   *int           `json:"systemDiskSize"`
	DataDisk         map[string]any `json:"dataDisk"`
	Bandwidth        *int           `json:"bandwidth"`
	OnBoot           *int           `json:"onBoot"`
	CreateDate       int64          `json:"createDate"`
}

// PlanOf makes the object.
func PlanOf(plan *broker.Plan) Plan {
	return Plan{
		ID: plan.ID, Name: plan.Name, Sockets: plan.Sockets, Cores: plan.Cores, Threads: plan.Threads,
		Devirtualization: plan.Devirtualization, KVM: plan.KVM, CPUModel: plan.CPUModel, ModelGroup: plan.ModelGroup, Nested: plan.Nested,
		CPU: plan.CPUType, CPUUnits: plan.CPUPercent, BandwidthOfIO: plan.DiskMBps, Arch: wireArch(plan.Arch), ACPI: optionalFlag(plan.ACPI),
		Memory: plan.MemoryMB, Storage: plan.Storage, SystemDiskSize: plan.SystemDiskGB, DataDisk: diskMap(plan.DataDisks, plan.Storage),
		Bandwidth: plan.BandwidthMbps, OnBoot: optionalFlag(plan.OnBoot), CreateDate: plan.CreatedAt.UnixMilli(),
	}
}

func optionalFlag(truth *bool) *int {
	if truth == nil {
		return nil
	}
	value := flag(*truth)
	return &value
}
