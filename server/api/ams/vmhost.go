package ams

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"gantry/server/broker"
)

// VMHost is a machine as the documentation's vmhost object shows it. Fields that the original fills from features that do not
// exist here are null, as they are in the documented example.
type VMHost struct {
	ID                  int64             `json:"id"`
	NodeID              int64             `json:"nodeid"`
	VMID                int               `json:"vmid"`
	Name                string            `json:"name"`
	ConfigureTemplateID *int64            `json:"configureTemplateId"`
	Sockets             int               `json:"sockets"`
	Cores               int               `json:"cores"`
	Threads             int               `json:"threads"`
	Devirtualization    bool              `json:"devirtualization"`
	KVM                 bool              `json:"kvm"`
	CPUModel            *int64            `json:"cpuModel"`
	ModelGroup          *int64            `json:"modelGroup"`
	CPU                 string            `json:"cpu"`
	CPUUnits            int64             `json:"cpuUnits" doc:"CPU limit in percent; 0 = unlimited"`
	BandwidthOfIO       int64             `json:"bwlimit" doc:"read limit of the system disk in KB/s; 0 = unlimited"`
	FlowLimit           int64             `json:"flowLimit" doc:"traffic quota in bytes; 0 = unlimited"`
	UsedFlow            int64             `json:"usedFlow" doc:"traffic of this month (UTC) in bytes, both directions"`
	ReadMBps            int64             `json:"mbpsRd"`
	ReadMBpsMax         int64             `json:"mbpsRdMax"`
	WriteMBps           int64             `json:"mbpsWr"`
	WriteMBpsMax        int64             `json:"mbpsWrMax"`
	ReadIOPS            int64             `json:"iopsRd"`
	ReadIOPSMax         int64             `json:"iopsRdMax"`
	WriteIOPS           int64             `json:"iopsWr"`
	WriteIOPSMax        int64             `json:"iopsWrMax"`
	Args                *string           `json:"args"`
	Arch                string            `json:"arch"`
	ACPI                int               `json:"acpi"`
	Memory              int               `json:"memory"`
	Swap                *int              `json:"swap"`
	Agent               int               `json:"agent"`
	Username            string            `json:"username"`
	Password            string            `json:"password" doc:"masked in lists"`
	IDE0                *string           `json:"ide0"`
	IDE2                *string           `json:"ide2"`
	Net0                string            `json:"net0"`
	Net1                *string           `json:"net1"`
	OS                  string            `json:"os"`
	OSName              string            `json:"osName"`
	OSType              string            `json:"osType"`
	ISO                 *string           `json:"iso"`
	Template            *string           `json:"template"`
	OnBoot              int               `json:"onBoot"`
	Bandwidth           int64             `json:"bandwidth" doc:"network limit in Mbps; 0 = unlimited"`
	Storage             string            `json:"storage"`
	SystemDiskSize      int               `json:"systemDiskSize"`
	DataDisk            map[string]any    `json:"dataDisk"`
	Bridge              string            `json:"bridge"`
	IPConfig            map[string]string `json:"ipConfig"`
	IPData              []IPData          `json:"ipData"`
	Nested              int               `json:"nested"`
	Task                map[string]int64  `json:"task" doc:"tasks by the time they were ordered at, in milliseconds; in lists only the one at work"`
	Status              int               `json:"status"`
	CreateTime          int64             `json:"createTime"`
	ExpirationTime      *int64            `json:"expirationTime"`
	IPList              []string          `json:"ipList"`
	DeleteState         int               `json:"deleteState" doc:"1: in the recycle bin"`
	RecycleTime         *int64            `json:"recycleTime" doc:"when it went into the recycle bin"`
	DestroyTime         *int64            `json:"destroyTime" doc:"when the recycle bin destroys it"`
	LastError           string            `json:"lastError" doc:"why the last task failed; empty after the next success"`
	Drift               string            `json:"drift" doc:"how the guest differs from what was ordered; empty = it does not"`
}

// IPData is one address of a machine.
type IPData struct {
	IP         string  `json:"ip"`
	SubnetMask int     `json:"subnetMask" doc:"prefix length"`
	Gateway    *string `json:"gateway"`
}

// VMHostOf makes the object. The password is masked unless secrets is true.
func VMHostOf(vm *broker.VM, secrets bool) VMHost {
	spec := &vm.Spec
	password := mask(vm.Password)
	if secrets {
		password = vm.Password
	}
	host := VMHost{
		ID: vm.ID, NodeID: vm.NodeID, VMID: vm.VMID, Name: vm.Name,
		ConfigureTemplateID: spec.PlanID, CPUModel: spec.CPUModel, ModelGroup: spec.ModelGroup,
		Sockets: spec.Sockets, Cores: spec.Cores, Threads: spec.Threads,
		Devirtualization: spec.Devirtualization, KVM: spec.KVM, CPU: spec.CPUType, CPUUnits: limit(spec.CPUPercent),
		BandwidthOfIO: limit(spec.IO.ReadMBps) * 1024, FlowLimit: limit(spec.TrafficBytes),
		ReadMBps: limit(spec.IO.ReadMBps), ReadMBpsMax: limit(spec.IO.ReadMBpsMax),
		WriteMBps: limit(spec.IO.WriteMBps), WriteMBpsMax: limit(spec.IO.WriteMBpsMax),
		ReadIOPS: limit(spec.IO.ReadIOPS), ReadIOPSMax: limit(spec.IO.ReadIOPSMax),
		WriteIOPS: limit(spec.IO.WriteIOPS), WriteIOPSMax: limit(spec.IO.WriteIOPSMax),
		Arch: wireArch(spec.Arch), ACPI: flag(spec.ACPI), Memory: spec.MemoryMB, Swap: positive(spec.SwapMB), Agent: flag(spec.GuestAgent),
		Username: vm.Username, Password: password, Net0: wireNIC(vm), OS: spec.Image, OSName: spec.ImageName, OSType: spec.OSFamily,
		OnBoot: flag(spec.OnBoot), Bandwidth: limit(spec.BandwidthMbps), Storage: spec.Storage, SystemDiskSize: spec.SystemDiskGB,
		DataDisk: diskMap(spec.DataDisks, spec.Storage), Bridge: spec.Bridge,
		IPConfig: ipConfigMap(spec.Addresses), IPData: ipData(spec.Addresses), Nested: flag(spec.Nested),
		Task: map[string]int64{}, Status: wireStatus(vm.Status), CreateTime: vm.CreatedAt.UnixMilli(),
		ExpirationTime: milliseconds(vm.ExpiresAt), IPList: ipList(spec.Addresses),
		DeleteState: flag(vm.RecycledAt != nil), RecycleTime: milliseconds(vm.RecycledAt), DestroyTime: milliseconds(vm.DestroyAt),
		LastError: vm.LastError, Drift: vm.Observed.Drift,
	}
	if spec.CloudInit {
		drive := spec.Storage + ":cloudinit"
		host.IDE2 = &drive
	}
	return host
}

// wireStatus hides the states that the original does not know.
func wireStatus(status broker.VMStatus) int {
	switch status {
	case broker.VMDeleting:
		return int(broker.VMForceStopping)
	case broker.VMFailed:
		return int(broker.VMStopped)
	}
	return int(status)
}

// wireArch spells aarch64 as the documentation does for machines.
func wireArch(arch string) string {
	if arch == "aarch64" {
		return "arrch64"
	}
	return arch
}

// wireNIC is net0 as PVE's configuration writes it.
func wireNIC(vm *broker.VM) string {
	text := "virtio"
	if vm.Spec.MAC != "" {
		text += "=" + vm.Spec.MAC
	}
	return text + ",bridge=" + vm.Spec.Bridge
}

// limit shows Unlimited as 0: the AMS wire has no other word for it.
func limit(value int64) int64 {
	if value == broker.Unlimited {
		return 0
	}
	return value
}

func flag(truth bool) int {
	if truth {
		return 1
	}
	return 0
}

func positive(value int) *int {
	if value <= 0 {
		return nil
	}
	return &value
}

func milliseconds(moment *time.Time) *int64 {
	if moment == nil {
		return nil
	}
	value := moment.UnixMilli()
	return &value
}

func ipData(addresses []broker.VMAddress) []IPData {
	data := make([]IPData, len(addresses))
	for i, address := range addresses {
		data[i] = IPData{IP: address.IP.String(), SubnetMask: address.Prefix}
		if address.Gateway.IsValid() {
			gateway := address.Gateway.String()
			data[i].Gateway = &gateway
		}
	}
	return data
}

func ipList(addresses []broker.VMAddress) []string {
	list := make([]string, len(addresses))
	for i, address := range addresses {
		list[i] = address.IP.String()
	}
	return list
}

// dottedMask is a prefix length as the pool lists show it: 255.255.255.240, or the length itself for IPv6.
func dottedMask(prefix, version int) string {
	if version == 6 {
		return strconv.Itoa(prefix)
	}
	return net.IP(net.CIDRMask(prefix, 32)).String()
}

// sizeText is a size as the documentation shows images': "597MB"; empty = unknown.
func sizeText(bytes int64) string {
	switch {
	case bytes <= 0:
		return ""
	case bytes < 1<<20:
		return fmt.Sprintf("%dKB", (bytes+1023)>>10)
	}
	return fmt.Sprintf("%dMB", bytes>>20)
}
