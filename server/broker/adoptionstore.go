package broker

import (
	"context"
	"time"
)

// AdoptionStore keeps guests that are not Gantry's, and what taking one over needs.
type AdoptionStore interface {
	// ReplaceUnmanaged makes a cluster's list equal to what was seen.
	ReplaceUnmanaged(ctx context.Context, cluster int64, guests []UnmanagedGuest) error
	// ListUnmanaged lists by cluster and VMID; 0 and "" mean any. Search is the beginning of a name.
	ListUnmanaged(ctx context.Context, filter UnmanagedFilter, page Page) ([]UnmanagedGuest, int64, error)
	// HoldVMID gives a VMID that a guest has already to a VM. Conflict when another VM holds it.
	HoldVMID(ctx context.Context, cluster int64, vmid int, vm int64) error
	// FreeVMID forgets that a VM held it, without quarantine: the guest has it still.
	FreeVMID(ctx context.Context, cluster int64, vmid int, vm int64) error
	// ReserveClusterAddress marks a named address of any pool of a cluster as used by vm. NotFound when no pool has it, Conflict when it is
	// taken or held back.
	ReserveClusterAddress(ctx context.Context, cluster int64, ip string, vm int64) (*Address, error)
	// MarkVMReleased is MarkVMDeleted for a VM whose guest lives on: its owner mark is free, too.
	MarkVMReleased(ctx context.Context, id int64, at time.Time) error
	// WasReleased tells whether a VM is gone that way.
	WasReleased(ctx context.Context, id int64) (bool, error)
}

// UnmanagedFilter narrows a list.
type UnmanagedFilter struct {
	ClusterID int64
	Node      string
	Search    string
}

// UnmanagedGuest is a guest of a hypervisor that is not Gantry's, as the poller saw it last.
type UnmanagedGuest struct {
	ClusterID   int64
	VMID        int
	Node        string // name
	Name        string
	Power       string
	CPUs        int
	MemoryBytes int64
	DiskBytes   int64
	Template    bool
	Lock        string
	SeenAt      time.Time // when it was seen so first
}
