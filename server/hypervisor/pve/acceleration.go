package pve

import (
	"context"
	"strings"
	"sync"
	"time"

	"gantry/server/hypervisor"
)

// accelerationLifetime is how long a node's answer holds: a BIOS setting changes with a reboot at the soonest.
const accelerationLifetime = 10 * time.Minute

// acceleration remembers which nodes have hardware virtualisation.
type acceleration struct {
	sync.Mutex
	nodes map[string]accelerated
}

type accelerated struct {
	kvm  bool
	read time.Time
}

// offersKVM tells whether a node can run guests with KVM. PVE refuses to start a guest with kvm=1 on a node that can't ("KVM
// virtualisation configured, but not available"), so such nodes, virtual ones most of the time, get guests without it. A node that
// does not tell is taken to have it, as every real server does.
func (d *driver) offersKVM(ctx context.Context, node string) bool {
	d.acceleration.Lock()
	known, found := d.acceleration.nodes[node]
	d.acceleration.Unlock()
	if found && d.now().Sub(known.read) < accelerationLifetime {
		return known.kvm
	}
	path, err := nodePath(node, "/status")
	if err != nil {
		return true
	}
	var status struct {
		CPU struct {
			HVM   any    `json:"hvm"`
			Flags string `json:"flags"`
		} `json:"cpuinfo"`
	}
	if err := d.client.get(ctx, path, nil, &status); err != nil {
		return true
	}
	kvm := hasKVM(status.CPU.HVM, status.CPU.Flags)
	d.acceleration.Lock()
	defer d.acceleration.Unlock()
	if d.acceleration.nodes == nil {
		d.acceleration.nodes = map[string]accelerated{}
	}
	d.acceleration.nodes[node] = accelerated{kvm: kvm, read: d.now()}
	return kvm
}

// hasKVM reads cpuinfo.hvm, which is "1", or "" where PVE found neither vmx nor svm among the flags (PVE::ProcFSTools).
func hasKVM(hvm any, flags string) bool {
	for flag := range strings.FieldsSeq(flags) {
		if flag == "vmx" || flag == "svm" {
			return true
		}
	}
	switch value := hvm.(type) {
	case string:
		return value != "" && value != "0"
	case float64:
		return value != 0
	case bool:
		return value
	}
	return flags == ""
}

// withoutKVM is the same guest under emulation, where the CPU type "host" does not exist; "max" is all that QEMU can emulate.
func withoutKVM(spec hypervisor.GuestSpec) hypervisor.GuestSpec {
	spec.KVM = false
	if spec.CPUType == "host" {
		spec.CPUType = "max"
	}
	return spec
}
