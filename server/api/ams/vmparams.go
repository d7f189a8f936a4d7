package ams

import (
	"encoding/json"
	"strings"
	"time"

	"gantry/server/api/route"
	"gantry/server/broker"
)

// VMParams is the order of a machine on a node: cerateVM and createVm.
type VMParams struct {
	NodeID int64 `json:"nodeid" rule:"required,min=1" doc:"node, see selectNodeByPage"`
	MachineParams
}

// MachineParams is what an order can say of a machine. What is nil or empty was not sent, and the default holds.
type MachineParams struct {
	Hostname            string `json:"hostname" rule:"max=63" doc:"host name; default: the first address with dashes"`
	ConfigureTemplateID *int64 `json:"configureTemplateId" rule:"min=0" doc:"plan"`
	Sockets             *int   `json:"sockets" doc:"CPU sockets; default 1"`
	Cores               *int   `json:"cores" doc:"cores a socket; default 1"`
	Threads             *int   `json:"threads" doc:"threads a core; default 1"`
	Devirtualization    *bool  `json:"devirtualization" doc:"hide the hypervisor from the guest; default false"`
	KVM                 *bool  `json:"kvm" doc:"hardware virtualisation; default true"`
	CPUModel            *int64 `json:"cpuModel" rule:"min=0" doc:"CPU model"`
	ModelGroup          *int64 `json:"modelGroup" rule:"min=0" doc:"model group, goes before cpuModel"`
	Nested              *bool  `json:"nested" doc:"nested virtualisation; cpu must be host or max then; default false"`
	CPU                 string `json:"cpu" rule:"max=64" doc:"CPU type, see /api/common/cpuType; default kvm64"`
	CPUUnits            *int   `json:"cpuUnits" rule:"min=0,max=500000" doc:"CPU limit in percent of the cores ordered; 0, or 100 and more = unlimited"`
	BandwidthOfIO       *int64 `json:"bwlimit" rule:"min=0,max=10000000" doc:"disk limit in MB/s for reading and for writing, where mbpsRd and mbpsWr are not sent; 0 = unlimited"`
	TrafficGB           *int64 `json:"flowLimit" rule:"min=0" doc:"traffic quota in GB; 0 = unlimited (default)"`
	Arch                string `json:"arch" rule:"max=16" doc:"x86_64 (default), arrch64 or aarch64"`
	ACPI                *bool  `json:"acpi" doc:"ACPI; default 1"`
	MemoryMB            *int   `json:"memory" doc:"memory in MB; default 512"`
	SwapMB              *int   `json:"swap" doc:"swap in MB"`
	Storage             string `json:"storage" rule:"max=100" doc:"storage of the system disk; default auto: the one with most room"`
	SystemDiskGB        *int   `json:"systemDiskSize" doc:"system disk in GB; default by family"`
	ReadMBps            int64  `json:"mbpsRd" rule:"min=0,max=10000000" doc:"read limit of the system disk in MB/s; 0 = unlimited"`
	ReadMBpsMax         int64  `json:"mbpsRdMax" rule:"min=0,max=10000000" doc:"the same in bursts"`
	WriteMBps           int64  `json:"mbpsWr" rule:"min=0,max=10000000" doc:"write limit of the system disk in MB/s; 0 = unlimited"`
	WriteMBpsMax        int64  `json:"mbpsWrMax" rule:"min=0,max=10000000" doc:"the same in bursts"`
	ReadIOPS            int64  `json:"iopsRd" rule:"min=0,max=10000000" doc:"read operations a second; 0 = unlimited"`
	ReadIOPSMax         int64  `json:"iopsRdMax" rule:"min=0,max=10000000" doc:"the same in bursts"`
	WriteIOPS           int64  `json:"iopsWr" rule:"min=0,max=10000000" doc:"write operations a second; 0 = unlimited"`
	WriteIOPSMax        int64  `json:"iopsWrMax" rule:"min=0,max=10000000" doc:"the same in bursts"`

	DataDisks DataDisks `json:"dataDisk" doc:"data disks by number: size in GB, \"storage:size\" or {\"size\":…,\"storage\":…}"`
	Bridge    string    `json:"bridge" rule:"max=64" doc:"bridge of the first NIC; default vmbr0"`
	Addresses IPConfig  `json:"ipConfig" doc:"addresses by number: empty for any free one, or \"ip=A/M,gw=G\""`
	IPv4Count *int      `json:"ipv4num" rule:"min=0,max=32" doc:"IPv4 addresses wanted; default: as many as ipConfig names, at least 1"`
	IPv6Count *int      `json:"ipv6num" rule:"min=0,max=32" doc:"IPv6 addresses wanted; default 0"`

	Nameserver string    `json:"dns1" rule:"max=255" doc:"name servers; default: those of the address pool"`
	Image      string    `json:"os" rule:"required,max=255" doc:"image: id, name or file name"`
	OSFamily   string    `json:"osType" rule:"max=16" doc:"windows, linux, solaris or other; default: as the image"`
	OnBoot     *bool     `json:"onBoot" doc:"start with the node; default 0"`
	Bandwidth  *int      `json:"bandwidth" rule:"min=0" doc:"network limit in Mbps; 0 = unlimited (default)"`
	Username   string    `json:"username" rule:"max=64" doc:"login name; default root or administrator"`
	Password   string    `json:"password" rule:"max=128" doc:"login password; default: random"`
	SSHKeys    string    `json:"sshKeys" rule:"max=65536,lines" doc:"OpenSSH public keys, one a line"`
	Expires    Timestamp `json:"expirationTime" doc:"expiry as a Unix time in seconds (10 digits) or milliseconds (13 digits)"`
}

// Order turns the parameters into an order.
func (p *VMParams) Order(call *route.Call) (broker.OrderRequest, error) {
	order, err := p.MachineParams.Order(call)
	order.NodeID = p.NodeID
	return order, err
}

// Order turns the parameters into an order without a node. What needs no more than the request itself is checked by the broker.
func (p *MachineParams) Order(call *route.Call) (broker.OrderRequest, error) {
	order := broker.OrderRequest{
		Kind: call.Kind, IdempotencyKey: call.IdempotencyKey, Hostname: p.Hostname,
		Sockets: p.Sockets, Cores: p.Cores, Threads: p.Threads, CPUPercent: p.CPUUnits, CPUType: p.CPU,
		Nested: p.Nested, Devirtualization: p.Devirtualization, KVM: p.KVM, Arch: p.Arch, ACPI: p.ACPI,
		MemoryMB: p.MemoryMB, SwapMB: p.SwapMB, Storage: p.Storage, SystemDiskGB: p.SystemDiskGB, DataDisks: p.DataDisks,
		IO: broker.IOLimits{
			ReadMBps: p.ReadMBps, ReadMBpsMax: p.ReadMBpsMax, WriteMBps: p.WriteMBps, WriteMBpsMax: p.WriteMBpsMax,
			ReadIOPS: p.ReadIOPS, ReadIOPSMax: p.ReadIOPSMax, WriteIOPS: p.WriteIOPS, WriteIOPSMax: p.WriteIOPSMax,
		},
		Bridge: p.Bridge, BandwidthMbps: p.Bandwidth, TrafficGB: p.TrafficGB, OnBoot: p.OnBoot, Image: p.Image,
		OSFamily: p.OSFamily, Username: p.Username, Password: p.Password, Addresses: p.Addresses,
		CPUModel: p.CPUModel, ModelGroup: p.ModelGroup, IPv4Count: p.IPv4Count, IPv6Count: p.IPv6Count, Nameserver: strings.ReplaceAll(p.Nameserver, ",", " "),
	}
	if p.ConfigureTemplateID != nil {
		order.PlanID = *p.ConfigureTemplateID
	}
	if p.CPUUnits != nil && *p.CPUUnits > 100 { // the original's default is 1024: more than all there is, so no limit
		order.CPUPercent = nil
	}
	if p.BandwidthOfIO != nil && order.IO.ReadMBps == 0 {
		order.IO.ReadMBps = *p.BandwidthOfIO
	}
	if p.BandwidthOfIO != nil && order.IO.WriteMBps == 0 {
		order.IO.WriteMBps = *p.BandwidthOfIO
	}
	for key := range strings.Lines(p.SSHKeys) {
		if key = strings.TrimSpace(key); key != "" {
			order.SSHKeys = append(order.SSHKeys, key)
		}
	}
	if !p.Expires.IsZero() {
		order.ExpiresAt = &p.Expires.Time
	}
	return order, nil
}

// Timestamp reads a Unix time in seconds (10 digits) or milliseconds (13 digits). 0 means "not sent".
type Timestamp struct{ time.Time }

// ReadField implements route.Reader.
func (t *Timestamp) ReadField(field string, value any) error {
	number, err := route.ReadNumber(field, value)
	if err != nil {
		return err
	}
	switch {
	case number == 0:
	case number >= 1e9 && number < 1e10:
		t.Time = time.Unix(number, 0).UTC()
	case number >= 1e12 && number < 1e13:
		t.Time = time.UnixMilli(number).UTC()
	default:
		return route.Unacceptable(field, "must be a Unix time of 10 digits (seconds) or 13 digits (milliseconds)",
			"必须是 10 位（秒）或 13 位（毫秒）时间戳")
	}
	return nil
}

// Schema implements route.Documented.
func (Timestamp) Schema() map[string]any { return map[string]any{"type": []string{"integer", "null"}} }

// MarshalJSON gives milliseconds, null for "not sent".
func (t Timestamp) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(t.UnixMilli())
}
