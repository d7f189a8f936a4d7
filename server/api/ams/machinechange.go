package ams

import (
	"context"

	"gantry/server/api/route"
	"gantry/server/broker"
)

// PasswordRequest sets a machine's login password.
type PasswordRequest struct {
	HostID      int64  `json:"hostId" rule:"required,min=1" doc:"the machine's id; not its VMID"`
	NewPassword string `json:"newPassword" rule:"required,min=5,max=128" doc:"5 to 128 printable ASCII characters"`
}

// ResetPassword queues setting a login password.
func (m *Machines) ResetPassword(ctx context.Context, call *route.Call, request PasswordRequest) (TaskRef, error) {
	if _, err := m.find(ctx, call, request.HostID); err != nil {
		return TaskRef{}, err
	}
	task, err := m.Orders.ResetPassword(ctx, request.HostID, request.NewPassword, call.Actor)
	if err != nil {
		return TaskRef{}, err
	}
	call.NoteTask(task)
	return TaskRef{TaskID: task.ID}, nil
}

// ConsolePasswordRequest sets what the console asks its viewer for.
type ConsolePasswordRequest struct {
	HostID   int64  `json:"hostId" rule:"required,min=1" doc:"the machine's id; not its VMID"`
	Password string `json:"password" rule:"max=128" doc:"printable ASCII; VNC looks at the first 8 characters only. Required unless remove is set"`
	Remove   bool   `json:"remove" doc:"let the console ask for nothing again; Gantry's own"`
}

// SetConsolePassword sets it for consoles that are opened from now on.
func (m *Machines) SetConsolePassword(ctx context.Context, call *route.Call, request ConsolePasswordRequest) (route.Null, error) {
	if _, err := m.find(ctx, call, request.HostID); err != nil {
		return nil, err
	}
	switch {
	case request.Password == "" && !request.Remove:
		return nil, route.Unacceptable("password", "is required", "不能为空")
	case request.Password != "" && request.Remove:
		return nil, route.Unacceptable("remove", "can't be set together with password", "不能与 password 同时使用")
	}
	if err := m.Orders.SetConsolePassword(ctx, request.HostID, request.Password); err != nil {
		return nil, err
	}
	if len(request.Password) > broker.ConsolePasswordCounts {
		if call.Language == broker.Chinese {
			call.Warn("VNC 只校验密码的前 %d 个字符", broker.ConsolePasswordCounts)
		} else {
			call.Warn("VNC looks at the first %d characters only", broker.ConsolePasswordCounts)
		}
	}
	return nil, nil
}

// ResizeRequest changes a machine's hardware: the fields of VmParams that a machine which exists can be given. What is not sent stays.
type ResizeRequest struct {
	HostID              int64     `json:"hostId" alias:"hostid" rule:"required,min=1" doc:"the machine's id; not its VMID"`
	ConfigureTemplateID *int64    `json:"configureTemplateId" rule:"min=0" doc:"plan: what it sets goes before the other fields, but shrinks no disk"`
	Sockets             *int      `json:"sockets" doc:"CPU sockets"`
	Cores               *int      `json:"cores" doc:"cores a socket"`
	Threads             *int      `json:"threads" doc:"threads a core"`
	Devirtualization    *bool     `json:"devirtualization" doc:"hide the hypervisor from the guest"`
	CPUModel            *int64    `json:"cpuModel" rule:"min=0" doc:"CPU model; 0 = none"`
	ModelGroup          *int64    `json:"modelGroup" rule:"min=0" doc:"model group, goes before cpuModel; 0 = none"`
	CPU                 string    `json:"cpu" rule:"max=64" doc:"CPU type, see /api/common/cpuType"`
	CPUUnits            *int      `json:"cpuUnits" rule:"min=0,max=500000" doc:"CPU limit in percent of the cores; 0, or 100 and more = unlimited"`
	BandwidthOfIO       *int64    `json:"bwlimit" rule:"min=0,max=10000000" doc:"disk limit in MB/s for reading and for writing; 0 = unlimited"`
	TrafficGB           *int64    `json:"flowLimit" rule:"min=0" doc:"traffic quota in GB; 0 = unlimited"`
	MemoryMB            *int      `json:"memory" doc:"memory in MB"`
	SystemDiskGB        *int      `json:"systemDiskSize" doc:"system disk in GB; disks only grow"`
	DataDisks           DataDisks `json:"dataDisk" doc:"data disks by number, which must be there; disks only grow"`
	Bandwidth           *int      `json:"bandwidth" rule:"min=0" doc:"network limit in Mbps; 0 = unlimited"`
	OnBoot              *bool     `json:"onBoot" doc:"start with the node"`
	ReadMBps            *int64    `json:"mbpsRd" rule:"min=0,max=10000000" doc:"read limit of the system disk in MB/s; 0 = unlimited"`
	ReadMBpsMax         *int64    `json:"mbpsRdMax" rule:"min=0,max=10000000" doc:"the same in bursts"`
	WriteMBps           *int64    `json:"mbpsWr" rule:"min=0,max=10000000" doc:"write limit of the system disk in MB/s; 0 = unlimited"`
	WriteMBpsMax        *int64    `json:"mbpsWrMax" rule:"min=0,max=10000000" doc:"the same in bursts"`
	ReadIOPS            *int64    `json:"iopsRd" rule:"min=0,max=10000000" doc:"read operations a second; 0 = unlimited"`
	ReadIOPSMax         *int64    `json:"iopsRdMax" rule:"min=0,max=10000000" doc:"the same in bursts"`
	WriteIOPS           *int64    `json:"iopsWr" rule:"min=0,max=10000000" doc:"write operations a second; 0 = unlimited"`
	WriteIOPSMax        *int64    `json:"iopsWrMax" rule:"min=0,max=10000000" doc:"the same in bursts"`
	Restart             bool      `json:"restart" doc:"stop and start a running machine where CPU or memory change; else that waits for its next start. Gantry's own"`
}

// Resize queues a change of hardware. Its data is null where nothing had to be done on the hypervisor.
func (m *Machines) Resize(ctx context.Context, call *route.Call, request ResizeRequest) (*TaskRef, error) {
	if _, err := m.find(ctx, call, request.HostID); err != nil {
		return nil, err
	}
	task, pending, err := m.Orders.Resize(ctx, request.change(), call.Actor)
	if err != nil || task == nil {
		return nil, err
	}
	if pending && call.Language == broker.Chinese {
		call.Warn("CPU 与内存变更将在虚拟机下次启动时生效")
	} else if pending {
		call.Warn("CPU and memory change when the machine is started next")
	}
	call.NoteTask(task)
	return &TaskRef{TaskID: task.ID}, nil
}

func (r *ResizeRequest) change() broker.ResizeRequest {
	percent := r.CPUUnits
	if percent != nil && *percent > 100 { // see VMParams.Order
		percent = new(0)
	}
	change := broker.ResizeRequest{
		VM: r.HostID, TrafficGB: r.TrafficGB, Restart: r.Restart, IO: map[broker.IOLimit]int64{},
		Hardware: broker.Hardware{
			Sockets: r.Sockets, Cores: r.Cores, Threads: r.Threads, CPUPercent: percent, CPUType: r.CPU, Devirtualization: r.Devirtualization,
			MemoryMB: r.MemoryMB, SystemDiskGB: r.SystemDiskGB, DataDisks: r.DataDisks, DiskMBps: r.BandwidthOfIO, BandwidthMbps: r.Bandwidth,
			OnBoot: r.OnBoot, CPUModel: r.CPUModel, ModelGroup: r.ModelGroup,
		},
	}
	if r.ConfigureTemplateID != nil {
		change.PlanID = *r.ConfigureTemplateID
	}
	for name, limit := range map[broker.IOLimit]*int64{
		"mbpsRd": r.ReadMBps, "mbpsRdMax": r.ReadMBpsMax, "mbpsWr": r.WriteMBps, "mbpsWrMax": r.WriteMBpsMax,
		"iopsRd": r.ReadIOPS, "iopsRdMax": r.ReadIOPSMax, "iopsWr": r.WriteIOPS, "iopsWrMax": r.WriteIOPSMax,
	} {
		if limit != nil {
			change.IO[name] = *limit
		}
	}
	return change
}
