package task

import (
	"context"
	"fmt"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// createState is what a create remembers between steps.
type createState struct {
	// Proof is the operation that made the guest: the only evidence that a half-made guest without owner mark is ours.
	Proof hypervisor.Operation `json:"proof"`
	// Burned are VMIDs that turned out to be foreign.
	Burned []int `json:"burned,omitempty"`
	// Clearing tells that the operation waited for removes what a create left that was cut short, so that it can begin anew.
	Clearing bool `json:"clearing,omitempty"`
	// SystemVolume is the system disk's volume, once seen.
	SystemVolume string `json:"systemVolume,omitempty"`
	// Processor is the digest of CPU and tables that the guest was made with.
	Processor string `json:"processor,omitempty"`
	removal
}

// maxBurned bounds how many foreign VMIDs in a row a create steps over: more means that the inventory is wrong.
const maxBurned = 20

func (w *Workflows) create() Workflow {
	return Workflow{
		Kind: broker.CreateKind, Deadline: time.Hour,
		Title: map[broker.Language]string{broker.English: "Create virtual machine", broker.Chinese: "创建虚拟机"},
		Steps: []Step{
			{Name: "create-guest", Weight: 6, Do: w.createGuest, Undo: w.uncreateGuest,
				Title: map[broker.Language]string{broker.English: "Create the guest with its disks", broker.Chinese: "创建虚拟机及磁盘"}},
			{Name: "import-disk", Weight: 4, Do: w.importOrdered, Undo: w.awaitImport,
				Title: map[broker.Language]string{broker.English: "Import the image on the node", broker.Chinese: "在节点上导入镜像"}},
			{Name: "attach-disk", Do: w.attachOrdered,
				Title: map[broker.Language]string{broker.English: "Attach the system disk", broker.Chinese: "挂载系统盘"}},
			{Name: "grow-disk", Do: w.growSystemDisk,
				Title: map[broker.Language]string{broker.English: "Grow the system disk", broker.Chinese: "扩容系统盘"}},
			{Name: "start", Weight: 2, Do: w.startGuest,
				Title: map[broker.Language]string{broker.English: "Start the guest", broker.Chinese: "启动虚拟机"}},
			{Name: "verify", Do: w.verifyCreated,
				Title: map[broker.Language]string{broker.English: "See it running", broker.Chinese: "确认运行状态"}},
		},
		Finish: func(ctx context.Context, tx broker.Tx, run *Run, state broker.TaskState) error {
			switch state {
			case broker.TaskDone:
				var own createState
				if err := run.Load(&own); err != nil {
					return err
				}
				return w.settle(ctx, tx, run, broker.VMRunning, func(vm *broker.VM) {
					vm.StartedOnce, vm.SystemVolume, vm.Spec.Processor = true, own.SystemVolume, own.Processor
				})
			case broker.TaskUndone:
				return w.release(ctx, tx, run)
			}
			return w.settle(ctx, tx, run, broker.VMFailed, nil)
		},
	}
}

func (w *Workflows) createGuest(ctx context.Context, run *Run) (Outcome, error) {
	var state createState
	if err := run.Load(&state); err != nil {
		return Outcome{}, err
	}
	if ended, err := run.Ended(); ended && !broker.Is(err, broker.NotFound) && (err != nil || !state.Clearing) {
		return Outcome{}, err
	}
	state.Clearing = false
	subject, err := w.subject(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	if run.Attempt > 1 || run.Result != nil {
		outcome, adopted, err := w.adoptCreate(ctx, run, subject, state)
		if adopted || err != nil {
			return outcome, err
		}
	}
	if outcome, waits, err := w.awaitImage(ctx, subject.vm); waits || err != nil {
		return outcome, err
	}
	spec, digest, err := w.guestSpec(ctx, subject)
	if err != nil {
		return Outcome{}, err
	}
	operation, err := subject.driver.CreateGuest(ctx, spec)
	if broker.Is(err, broker.Exists) {
		return w.burnVMID(run, subject, state)
	}
	if err != nil {
		return Outcome{}, err
	}
	state.Proof, state.Processor = operation, digest
	return Outcome{State: state, Wait: operation}, nil
}

// adoptCreate looks whether an earlier attempt had its effect: the process may have died, or the reply may have been lost.
func (w *Workflows) adoptCreate(ctx context.Context, run *Run, subject *subject, state createState) (Outcome, bool, error) {
	operation, err := subject.driver.FindOperation(ctx, subject.ref, hypervisor.OperationCreate, run.Since)
	cutShort := false
	switch {
	case err == nil && operation != run.Operation:
		ended, err := subject.driver.OperationState(ctx, operation)
		if err != nil && !broker.Is(err, broker.NotFound) {
			return Outcome{}, false, err
		}
		if err == nil && ended.Err == nil { // one that failed shows in what it left
			state.Proof = operation
			return Outcome{State: state, Wait: operation, Note: "took up a create whose reply was lost"}, true, nil
		}
		cutShort = err == nil && broker.Is(ended.Err, broker.UnknownOutcome)
	case err != nil && !broker.Is(err, broker.NotFound):
		return Outcome{}, false, err
	}
	guest, err := subject.find(ctx)
	switch {
	case broker.Is(err, broker.NotFound):
		return Outcome{}, false, nil
	case err != nil:
		return Outcome{}, false, err
	case guest.Incomplete && cutShort:
		state.Clearing = true
		cleared, err := subject.driver.ClearStaleCreate(ctx, subject.ref, operation)
		if err == nil && cleared.Done() {
			return Outcome{State: state, After: time.Millisecond}, true, nil
		}
		return Outcome{State: state, Wait: cleared, Note: "a create was cut short: it begins anew"}, true, err
	case guest.Incomplete:
		return Outcome{}, false, broker.Errorf(broker.Failed, "the create ended half-way: the guest is still locked (%s)", guest.Lock)
	case guest.Owner == subject.vm.Owner:
		return Outcome{State: state, Note: "the guest was there already"}, true, nil
	}
	outcome, err := w.burnVMID(run, subject, state)
	return outcome, true, err
}

// burnVMID takes another VMID after the hypervisor said that this one is taken by somebody else's guest. A guest of ours that the
// lost reply of an earlier attempt made is found by adoptCreate before.
func (w *Workflows) burnVMID(run *Run, subject *subject, state createState) (Outcome, error) {
	foreign := subject.vm.VMID
	if len(state.Burned) >= maxBurned {
		return Outcome{}, broker.Errorf(broker.Failed, "%d VMIDs in a row are taken on the hypervisor, the last was %d", maxBurned, foreign)
	}
	state.Burned = append(state.Burned, foreign)
	state.Proof = hypervisor.Operation{}
	run.Log.Warn("VMID is taken on the hypervisor", "vmid", foreign)
	return Outcome{
		State: state, After: time.Millisecond, Note: fmt.Sprintf("VMID %d is taken on the hypervisor", foreign),
		Commit: func(ctx context.Context, tx broker.Tx) error {
			vm, err := tx.LockVM(ctx, subject.vm.ID)
			if err != nil {
				return err
			}
			now := w.now().UTC()
			if err := tx.BurnVMID(ctx, vm.ClusterID, foreign, now.Add(w.rules.Quarantine)); err != nil {
				return err
			}
			if vm.VMID, err = tx.ReserveVMID(ctx, vm.ClusterID, vm.ID, now); err != nil {
				return err
			}
			return tx.UpdateVM(ctx, vm)
		},
	}, nil
}

// guestSpec turns the stored order into what the driver makes, with the digest of its processor.
func (w *Workflows) guestSpec(ctx context.Context, subject *subject) (hypervisor.GuestSpec, string, error) {
	vm := subject.vm
	imageCopy, err := w.store.FindImageCopy(ctx, vm.ImageID, vm.NodeID)
	if err != nil {
		return hypervisor.GuestSpec{}, "", broker.Wrap(err, "find the image's copy on the node")
	}
	processor, digest, err := w.processor(ctx, vm.Spec)
	if err != nil {
		return hypervisor.GuestSpec{}, "", err
	}
	spec := hypervisor.GuestSpec{
		// Threads have no option of their own on PVE; a thread is a core to the guest's scheduler.
		Ref: subject.ref, Name: vm.Name, Sockets: vm.Spec.Sockets, Cores: vm.Spec.Cores * vm.Spec.Threads, CPUType: processor.CPUType,
		HideHypervisor: processor.HideHypervisor, Hardware: processor.Hardware, KVM: vm.Spec.KVM, Arch: vm.Spec.Arch, ACPI: vm.Spec.ACPI, MemoryMB: vm.Spec.MemoryMB, OnBoot: vm.Spec.OnBoot,
		OSFamily: vm.Spec.OSFamily, GuestAgent: vm.Spec.GuestAgent, Limits: hypervisor.Limits{CPUPercent: vm.Spec.CPUPercent},
		NICs:             []hypervisor.NICSpec{{MAC: vm.Spec.MAC, Bridge: vm.Spec.Bridge, RateMbps: vm.Spec.BandwidthMbps}},
		CloudInitStorage: vm.Spec.Storage, Description: fmt.Sprintf("Gantry VM %d", vm.ID),
	}
	if !imageCopy.ByDaemon {
		spec.Disks = append(spec.Disks, systemDisk(vm, imageCopy.Volume))
	}
	for _, disk := range vm.Spec.DataDisks {
		spec.Disks = append(spec.Disks, dataDisk(disk))
	}
	if vm.Spec.CloudInit {
		spec.CloudInit = cloudInit(vm, vm.Password)
	}
	return spec, digest, nil
}

func systemDisk(vm *broker.VM, importFrom string) hypervisor.DiskSpec {
	return hypervisor.DiskSpec{Key: hypervisor.SystemDisk, Storage: vm.Spec.Storage, ImportFrom: importFrom, IO: vm.Spec.IO}
}

func dataDisk(disk broker.DataDisk) hypervisor.DiskSpec {
	return hypervisor.DiskSpec{
		Key: fmt.Sprintf("scsi%d", disk.Number), Storage: disk.Storage, SizeBytes: int64(disk.SizeGB) << 30, IO: hypervisor.UnlimitedIO(),
	}
}

func cloudInit(vm *broker.VM, password string) *hypervisor.CloudInit {
	return &hypervisor.CloudInit{
		User: vm.Username, Password: password, SSHKeys: vm.Spec.SSHKeys, Addresses: vm.Spec.Addresses, Nameserver: vm.Spec.Nameserver,
	}
}

func (w *Workflows) growSystemDisk(ctx context.Context, run *Run) (Outcome, error) {
	if ended, err := run.Ended(); ended {
		return Outcome{}, err
	}
	subject, err := w.subject(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	if operation, found, err := w.retake(ctx, run, subject, hypervisor.OperationResize); found || err != nil {
		return wait(operation, err)
	}
	return wait(subject.driver.ResizeDisk(ctx, subject.ref, hypervisor.SystemDisk, int64(subject.vm.Spec.SystemDiskGB)<<30))
}

func (w *Workflows) startGuest(ctx context.Context, run *Run) (Outcome, error) {
	if ended, err := run.Ended(); ended {
		return Outcome{}, err
	}
	subject, err := w.subject(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	if operation, found, err := w.retake(ctx, run, subject, hypervisor.OperationStart); found || err != nil {
		return wait(operation, err)
	}
	return wait(subject.driver.Power(ctx, subject.ref, hypervisor.Start, hypervisor.PowerOptions{}))
}

// runningGuest believes only what it sees: a start that "succeeded" and a guest that is off is a failure.
func (w *Workflows) runningGuest(ctx context.Context, run *Run) (hypervisor.Guest, error) {
	subject, err := w.subject(ctx, run)
	if err != nil {
		return hypervisor.Guest{}, err
	}
	guest, err := subject.ours(ctx)
	if err != nil {
		return guest, err
	}
	if guest.Power != hypervisor.PowerRunning {
		return guest, broker.Errorf(broker.Failed, "the guest was started but is %s", guest.Power)
	}
	return guest, nil
}

func (w *Workflows) verifyCreated(ctx context.Context, run *Run) (Outcome, error) {
	guest, err := w.runningGuest(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	var state createState
	if err := run.Load(&state); err != nil {
		return Outcome{}, err
	}
	state.SystemVolume = volumeOf(guest, hypervisor.SystemDisk)
	return Outcome{State: state}, nil
}
