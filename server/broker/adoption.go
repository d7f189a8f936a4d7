package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"
)

// ForeignGuest is a guest read live that is not Gantry's yet.
type ForeignGuest struct {
	Node, Name string
	Owner      string // mark that it has already; "" = none
	Power      string
	Status     VMStatus // what Power means
	Lock       string
	Incomplete bool
	Template   bool
	Sockets    int
	Cores      int
	MemoryMB   int
	OSFamily   string
	Disks      []ForeignDisk
	MAC        string // of the first NIC
	Bridge     string
	Addresses  []netip.Prefix // that the hypervisor gives it
}

// ForeignDisk is a disk of such a guest. Number is N of scsiN, -1 for other buses.
type ForeignDisk struct {
	Number  int
	Volume  string
	Storage string
	SizeGB  int
}

// AdoptRequest takes a guest over.
type AdoptRequest struct {
	NodeID int64 // any node of the guest's cluster
	VMID   int
	// Name is the machine's; "" = the guest's own, with its VMID where another machine has that.
	Name string
	// Tenant is the API key that the machine is given to; 0 = the panel.
	Tenant    int64
	ExpiresAt *time.Time // nil = never
	PlanID    int64      // noted only; 0 = none
	// Addresses are those that the guest uses; none = those that the hypervisor gives it by cloud-init.
	Addresses          []string
	Username, Password string // noted only
}

// ReasonManaged is for a guest that is a machine already.
const (
	ReasonManaged Reason = "guest_is_managed"
	ReasonAdopted Reason = "machine_was_adopted"
)

// Adopt makes a guest that exists a machine, without touching it: the owner mark is all that is written. Its addresses are recorded in
// the pools of its cluster that have them; Conflict when another machine has one. Adopting it again gives the same machine, and puts the mark
// on again if it is missing.
func (b *Broker) Adopt(ctx context.Context, request AdoptRequest, actor Actor) (*VM, error) {
	if err := b.checkAdoption(ctx, &request); err != nil {
		return nil, err
	}
	node, cluster, err := b.usableNode(ctx, request.NodeID, "")
	if err != nil {
		return nil, err
	}
	known, err := b.store.FindVMByVMID(ctx, cluster.ID, request.VMID)
	if err == nil && !known.Spec.Adopted {
		failure := Because(Conflict, ReasonManaged, request.VMID, known.ID)
		failure.Field = "vmid"
		return nil, failure
	}
	if err == nil {
		return known, b.fleet.MarkGuest(ctx, known)
	}
	if !Is(err, NotFound) {
		return nil, err
	}
	guest, err := b.fleet.ForeignGuest(ctx, cluster.ID, node.Name, request.VMID)
	if Is(err, NotFound) {
		return nil, named("vmid", err)
	}
	if err != nil {
		return nil, err
	}
	if guest.Template {
		return nil, &Error{Kind: Conflict, Field: "vmid", Detail: fmt.Sprintf("guest %d is a template", request.VMID)}
	}
	if guest.Lock != "" || guest.Incomplete {
		return nil, Errorf(Locked, "guest %d is locked (%s): something works on it", request.VMID, guest.Lock)
	}
	if guest.Node != node.Name {
		if node, err = b.store.FindNodeByName(ctx, cluster.ID, guest.Node); err != nil {
			return nil, err
		}
	}
	return b.recordAdoption(ctx, request, b.adoptedVM(request, cluster, node, guest), guest)
}

func (b *Broker) checkAdoption(ctx context.Context, request *AdoptRequest) error {
	if request.VMID <= 0 {
		return InvalidField("vmid", "is missing or not a VMID")
	}
	if request.Name != "" && (len(request.Name) > 63 || !hostnamePattern.MatchString(request.Name)) {
		failure := Because(Invalid, ReasonHostnameInvalid, bounded(request.Name))
		failure.Field = "hostname"
		return failure
	}
	if request.Username != "" && !usernamePattern.MatchString(request.Username) {
		return InvalidField("username", "letters, digits, '_', '.', '-', at most 32, beginning with a letter")
	}
	if err := checkPassword("password", request.Password); err != nil {
		return err
	}
	if request.ExpiresAt != nil && !request.ExpiresAt.After(b.now()) {
		return InvalidField("expirationTime", "%s is in the past", request.ExpiresAt.UTC().Format(time.RFC3339))
	}
	if len(request.Addresses) > maxAddresses {
		return InvalidField("ipConfig", "at most %d addresses", maxAddresses)
	}
	for _, address := range request.Addresses {
		if _, err := ParseAddress("ipConfig", address); err != nil {
			return err
		}
	}
	if request.Tenant != 0 {
		if _, err := b.store.FindAPIKey(ctx, request.Tenant); err != nil {
			return named("apiId", err)
		}
	}
	if request.PlanID != 0 {
		if _, err := b.store.FindPlan(ctx, request.PlanID); err != nil {
			return planError(request.PlanID, err)
		}
	}
	return nil
}

// adoptedVM describes the guest as it is. Limits that it may have are left as they are: they are not Gantry's until somebody changes them.
func (b *Broker) adoptedVM(request AdoptRequest, cluster *Cluster, node *Node, guest *ForeignGuest) *VM {
	now := b.now().UTC()
	vm := &VM{
		ClusterID: cluster.ID, NodeID: node.ID, Kind: cluster.Kind, VMID: request.VMID, Name: firstOf(request.Name, hostnameOf(guest.Name, request.VMID)),
		Owner: guest.Owner, Tenant: request.Tenant, Status: guest.Status, StatusAt: now, Username: request.Username, Password: request.Password,
		ExpiresAt: request.ExpiresAt, CreatedAt: now, StartedOnce: guest.Status == VMRunning,
		Spec: VMSpec{
			Adopted: true, Sockets: guest.Sockets, Cores: guest.Cores, Threads: 1, MemoryMB: guest.MemoryMB, Arch: "x86_64", KVM: true, ACPI: true,
			OSFamily: firstOf(guest.OSFamily, "other"), MAC: guest.MAC, Bridge: guest.Bridge, CPUPercent: Unlimited, BandwidthMbps: Unlimited,
			TrafficBytes: Unlimited, IO: IOLimits{Unlimited, Unlimited, Unlimited, Unlimited, Unlimited, Unlimited, Unlimited, Unlimited},
			PlanID: positive(&request.PlanID), DataDisks: []DataDisk{},
		},
	}
	for i, disk := range guest.Disks {
		if i == 0 {
			vm.Spec.Storage, vm.Spec.SystemDiskGB, vm.SystemVolume = disk.Storage, disk.SizeGB, disk.Volume
			continue
		}
		number := disk.Number
		if number < 1 {
			number = i
		}
		vm.Spec.DataDisks = append(vm.Spec.DataDisks, DataDisk{Number: number, SizeGB: disk.SizeGB, Storage: disk.Storage})
	}
	return vm
}

// hostnameOf makes a host name of what others called a guest.
func hostnameOf(name string, vmid int) string {
	clean := strings.Trim(strings.Map(func(r rune) rune {
		if r < 128 && (r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			return r
		}
		return '-'
	}, name), "-.")
	if len(clean) > 50 { // leaves room for the VMID
		clean = strings.Trim(clean[:50], "-.")
	}
	if !hostnamePattern.MatchString(clean) {
		return fmt.Sprintf("guest-%d", vmid)
	}
	return clean
}

// recordAdoption stores the machine first and marks the guest then. A crash in between leaves a machine whose guest has no mark: everything
// is refused it then, and adopting it again, or releasing it, mends that.
func (b *Broker) recordAdoption(ctx context.Context, request AdoptRequest, vm *VM, guest *ForeignGuest) (*VM, error) {
	err := b.insertAdopted(ctx, vm, request, guest)
	if reason(err) == ReasonHostnameTaken && request.Name == "" {
		vm.Name = fmt.Sprintf("%s-%d", vm.Name, vm.VMID)
		err = b.insertAdopted(ctx, vm, request, guest)
	}
	if err != nil {
		return nil, err
	}
	if err := b.fleet.MarkGuest(ctx, vm); err != nil {
		if Is(err, UnknownOutcome) {
			return nil, err // calling again looks what became of it
		}
		if undo := b.forget(context.WithoutCancel(ctx), vm.ID, nil); undo != nil {
			return nil, errors.Join(err, undo)
		}
		return nil, err
	}
	return vm, nil
}

func reason(err error) Reason {
	var known *Error
	if errors.As(err, &known) {
		return known.Reason
	}
	return ""
}

func (b *Broker) insertAdopted(ctx context.Context, vm *VM, request AdoptRequest, guest *ForeignGuest) error {
	natural := vm.Owner
	insert := func(tx Tx) error {
		vm.ID, vm.Spec.Addresses = 0, nil
		if vm.Owner == "" {
			vm.Owner = uuid.New().String()
		}
		if err := tx.InsertVM(ctx, vm); err != nil {
			return err
		}
		if err := tx.HoldVMID(ctx, vm.ClusterID, vm.VMID, vm.ID); err != nil {
			return named("vmid", err)
		}
		if err := recordAddresses(ctx, tx, vm, request, guest); err != nil {
			return err
		}
		return tx.UpdateVM(ctx, vm)
	}
	err := b.store.Transact(ctx, insert)
	if Is(err, Exists) && natural != "" && reason(err) == "" && !fieldOf(err) {
		// Another machine bears the guest's mark: this one is a copy. It gets a mark of its own where the hypervisor can.
		vm.Owner = ""
		err = b.store.Transact(ctx, insert)
	}
	return err
}

// fieldOf tells whether an error names a field: of the unique values of a VM, only the owner mark has no name outside.
func fieldOf(err error) bool {
	var known *Error
	return errors.As(err, &known) && known.Field != ""
}

// recordAddresses takes the guest's addresses out of the pools that have them. What no pool has is noted only.
func recordAddresses(ctx context.Context, tx Tx, vm *VM, request AdoptRequest, guest *ForeignGuest) error {
	prefixes := guest.Addresses
	if len(request.Addresses) > 0 {
		prefixes = nil
		for _, text := range request.Addresses {
			ip, err := ParseAddress("ipConfig", text)
			if err != nil {
				return err
			}
			prefixes = append(prefixes, netip.PrefixFrom(ip, ip.BitLen()))
		}
	}
	for _, prefix := range prefixes {
		noted := VMAddress{IP: prefix.Addr(), Prefix: prefix.Bits()}
		address, err := tx.ReserveClusterAddress(ctx, vm.ClusterID, noted.IP.String(), vm.ID)
		switch {
		case err == nil:
			noted = VMAddress{AddressID: address.ID, IP: address.IP, Prefix: address.Prefix, Gateway: address.Gateway}
			if vm.Spec.Nameserver == "" {
				vm.Spec.Nameserver = strings.TrimSpace(address.DNS1 + " " + address.DNS2)
			}
		case !Is(err, NotFound):
			return named("ipConfig", err)
		}
		vm.Spec.Addresses = append(vm.Spec.Addresses, noted)
	}
	return nil
}

// Release lets a machine go: its guest lives on untouched, without the owner mark, its addresses are free and the record is gone. Calling it
// again is success. Conflict while a task works on the machine.
func (b *Broker) Release(ctx context.Context, id int64) error {
	vm, err := b.store.FindVM(ctx, id)
	if Is(err, NotFound) {
		if released, again := b.store.WasReleased(ctx, id); again != nil || released {
			return again
		}
		failure := Because(NotFound, ReasonVMNotFound, id)
		failure.Field = "hostId"
		return failure
	}
	if err != nil {
		return err
	}
	if vm.TaskID != nil {
		return Because(Conflict, ReasonVMBusy, id, taskWord(vm.Status))
	}
	marked := true
	if err := b.fleet.UnmarkGuest(ctx, vm); err != nil {
		if reason(err) != ReasonForeignGuest { // it has lost the mark, or never got it: nothing to take off
			return err
		}
		marked = false
	}
	err = b.forget(ctx, id, func(vm *VM) error {
		if vm.TaskID != nil {
			return Because(Conflict, ReasonVMBusy, id, taskWord(vm.Status))
		}
		return nil
	})
	if err != nil && marked && !Is(err, NotFound) {
		return errors.Join(err, b.fleet.MarkGuest(context.WithoutCancel(ctx), vm))
	}
	return err
}

// forget gives back what a machine holds and removes its record; its guest is not Gantry's any more.
func (b *Broker) forget(ctx context.Context, id int64, allowed func(vm *VM) error) error {
	return b.store.Transact(ctx, func(tx Tx) error {
		vm, err := lockVM(ctx, tx, id)
		if err != nil {
			return err
		}
		if allowed != nil {
			if err := allowed(vm); err != nil {
				return err
			}
		}
		return ForgetReleased(ctx, tx, vm, b.now().UTC())
	})
}

// ForgetReleased gives back what a machine holds whose guest lives on.
func ForgetReleased(ctx context.Context, tx Tx, vm *VM, at time.Time) error {
	if err := tx.ReleaseAddresses(ctx, vm.ID); err != nil {
		return err
	}
	if err := tx.FreeVMID(ctx, vm.ClusterID, vm.VMID, vm.ID); err != nil {
		return err
	}
	if err := tx.DeleteOrders(ctx, vm.ID); err != nil {
		return err
	}
	return tx.MarkVMReleased(ctx, vm.ID, at)
}

// DeleteData is the state that a delete task begins with.
type DeleteData struct {
	PowerData
	// DestroyDisks lets the disks of an adopted machine go, too.
	DestroyDisks bool `json:"destroyDisks,omitempty"`
}

// DestroyWithDisks is Destroy for operators who want an adopted machine's guest and disks gone. Without it such a machine is switched off
// and let go. For other machines there is no difference.
func (b *Broker) DestroyWithDisks(ctx context.Context, id int64, actor Actor) (*Task, error) {
	vm, err := b.findVM(ctx, id)
	if err != nil {
		return nil, err
	}
	if !vm.Spec.Adopted {
		return b.Destroy(ctx, id, actor)
	}
	var task *Task
	err = b.onAnyVM(ctx, id, func(tx Tx, vm *VM) error {
		data, err := json.Marshal(DeleteData{PowerData: PowerData{Before: vm.Status}, DestroyDisks: true})
		if err != nil {
			return Wrap(err, "describe the delete task")
		}
		vm.Status, vm.StatusAt = VMDeleting, b.now().UTC()
		task = &Task{Kind: DeleteKind, Data: data}
		return b.queueTask(ctx, tx, task, vm, actor)
	})
	return task, err
}
