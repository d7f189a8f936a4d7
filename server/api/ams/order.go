package ams

import (
	"strings"

	"gantry/server/broker"
)

// OrderReply is the answer to cerateVM and createVm: the parameters as they hold, with what was reserved. The machine is still
// being built: TaskID names the task.
type OrderReply struct {
	NodeType            string            `json:"nodeType" doc:"driver of the node that the machine is on"`
	NodeID              int64             `json:"nodeid"`
	HostID              int64             `json:"hostid"`
	VMID                int               `json:"vmid"`
	Hostname            string            `json:"hostname"`
	ConfigureTemplateID *int64            `json:"configureTemplateId"`
	Sockets             int               `json:"sockets"`
	Cores               int               `json:"cores"`
	Threads             int               `json:"threads"`
	Nested              bool              `json:"nested"`
	Devirtualization    bool              `json:"devirtualization"`
	KVM                 bool              `json:"kvm"`
	CPUModel            *int64            `json:"cpuModel"`
	ModelGroup          *int64            `json:"modelGroup"`
	CPU                 string            `json:"cpu"`
	CPUUnits            int64             `json:"cpuUnits"`
	Args                *string           `json:"args"`
	Arch                string            `json:"arch"`
	ACPI                int               `json:"acpi"`
	Memory              int               `json:"memory"`
	Swap                *int              `json:"swap"`
	Storage             string            `json:"storage"`
	SystemDiskSize      int               `json:"systemDiskSize"`
	DataDisk            map[string]any    `json:"dataDisk"`
	Bridge              string            `json:"bridge"`
	IPConfig            map[string]string `json:"ipConfig"`
	IPData              []IPData          `json:"ipData"`
	DNS1                string            `json:"dns1"`
	OS                  string            `json:"os"`
	OSType              string            `json:"osType"`
	ISO                 *string           `json:"iso"`
	Template            *string           `json:"template"`
	OnBoot              int               `json:"onBoot"`
	Bandwidth           int64             `json:"bandwidth"`
	Username            string            `json:"username"`
	Password            string            `json:"password"`
	Task                *int64            `json:"task"`
	Status              *int              `json:"status"`
	ExpirationTime      *int64            `json:"expirationTime" doc:"as ordered; null when the default holds, see getVmInfo"`
	TaskID              int64             `json:"taskId"`
}

// OrderReplyOf answers an order.
func OrderReplyOf(params *MachineParams, vm *broker.VM, task *broker.Task) OrderReply {
	spec := &vm.Spec
	dns1, _, _ := strings.Cut(spec.Nameserver, " ")
	reply := OrderReply{
		NodeType: vm.Kind,
		NodeID:   vm.NodeID, HostID: vm.ID, VMID: vm.VMID, Hostname: vm.Name, ConfigureTemplateID: params.ConfigureTemplateID,
		Sockets: spec.Sockets, Cores: spec.Cores, Threads: spec.Threads, Nested: spec.Nested,
		Devirtualization: spec.Devirtualization, KVM: spec.KVM, CPUModel: params.CPUModel, ModelGroup: params.ModelGroup,
		CPU: spec.CPUType, CPUUnits: limit(spec.CPUPercent), Arch: wireArch(spec.Arch), ACPI: flag(spec.ACPI),
		Memory: spec.MemoryMB, Swap: positive(spec.SwapMB), Storage: spec.Storage, SystemDiskSize: spec.SystemDiskGB,
		DataDisk: diskMap(spec.DataDisks, spec.Storage), Bridge: spec.Bridge, IPConfig: ipConfigMap(spec.Addresses),
		IPData: ipData(spec.Addresses), DNS1: dns1, OS: spec.Image, OSType: spec.OSFamily, OnBoot: flag(spec.OnBoot),
		Bandwidth: limit(spec.BandwidthMbps), Username: vm.Username, Password: vm.Password,
	}
	if !params.Expires.IsZero() {
		reply.ExpirationTime = milliseconds(&params.Expires.Time)
	}
	if task != nil {
		reply.TaskID = task.ID
	}
	return reply
}
