package task

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// resizeState is what a resize remembers.
type resizeState struct {
	broker.ResizeData
	Looked     bool `json:"looked,omitempty"`
	WasRunning bool `json:"wasRunning,omitempty"`
	// Processor is the digest of what the guest was given.
	Processor string `json:"processor,omitempty"`
	// Sizes are the guest's disks in bytes, as seen when the resize was undone: what grew stays grown.
	Sizes     map[string]int64 `json:"sizes,omitempty"`
	Restoring bool             `json:"restoring,omitempty"`
	Seen      hypervisor.Power `json:"seen,omitempty"`
}

func (w *Workflows) resize() Workflow {
	return Workflow{
		Kind: broker.ResizeKind, Deadline: 30 * time.Minute,
		Title: map[broker.Language]string{broker.English: "Change hardware", broker.Chinese: "变更配置"},
		Steps: []Step{
			{Name: "look", Do: w.lookBeforeResize, Undo: w.leaveAsSeen,
				Title: map[broker.Language]string{broker.English: "See the guest's state", broker.Chinese: "确认状态"}},
			{Name: "configure", Do: w.configureResized, Undo: w.configureUnresized,
				Title: map[broker.Language]string{broker.English: "Change CPU, memory and limits", broker.Chinese: "变更 CPU、内存与限制"}},
			{Name: "grow-disks", Weight: 2, Do: w.growDisks,
				Title: map[broker.Language]string{broker.English: "Grow the disks", broker.Chinese: "扩容磁盘"}},
			{Name: "stop", Weight: 2, Do: w.stopForResize,
				Title: map[broker.Language]string{broker.English: "Stop the guest, where a restart was asked for", broker.Chinese: "按要求停止虚拟机"}},
			{Name: "start", Weight: 2, Do: w.startResized,
				Title: map[broker.Language]string{broker.English: "Start the guest", broker.Chinese: "启动虚拟机"}},
			{Name: "verify", Do: w.verifyResized,
				Title: map[broker.Language]string{broker.English: "See it running", broker.Chinese: "确认运行状态"}},
		},
		Finish: w.finishResize,
	}
}

func (w *Workflows) finishResize(ctx context.Context, tx broker.Tx, run *Run, state broker.TaskState) error {
	var own resizeState
	if err := run.Load(&own); err != nil {
		return err
	}
	if state == broker.TaskDone {
		return w.settle(ctx, tx, run, own.Before, func(vm *broker.VM) {
			vm.Spec = own.To
			vm.Spec.Processor = own.Processor
		})
	}
	if err := w.settleAsSeen(ctx, tx, run, state); err != nil {
		return err
	}
	vm, err := tx.LockVM(ctx, *run.Task.VM)
	if err != nil {
		return err
	}
	keepGrown(&vm.Spec, own)
	return tx.UpdateVM(ctx, vm)
}

// keepGrown notes the sizes of disks that had grown before the rest failed.
func keepGrown(spec *broker.VMSpec, state resizeState) {
	if state.Sizes[hypervisor.SystemDisk] >= int64(state.To.SystemDiskGB)<<30 {
		spec.SystemDiskGB = max(spec.SystemDiskGB, state.To.SystemDiskGB)
	}
	for i := range spec.DataDisks {
		for _, wanted := range state.To.DataDisks {
			if wanted.Number == spec.DataDisks[i].Number && state.Sizes[dataDisk(wanted).Key] >= int64(wanted.SizeGB)<<30 {
				spec.DataDisks[i].SizeGB = max(spec.DataDisks[i].SizeGB, wanted.SizeGB)
			}
		}
	}
}

func (w *Workflows) resizing(ctx context.Context, run *Run) (*subject, resizeState, error) {
	var state resizeState
	if err := run.Load(&state); err != nil {
		return nil, state, err
	}
	subject, err := w.subject(ctx, run)
	return subject, state, err
}

func (w *Workflows) lookBeforeResize(ctx context.Context, run *Run) (Outcome, error) {
	subject, state, err := w.resizing(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	guest, err := subject.ours(ctx)
	if err != nil {
		return Outcome{}, err
	}
	state.Looked, state.WasRunning = true, guest.Power == hypervisor.PowerRunning
	return Outcome{State: state}, nil
}

// leaveAsSeen is the last thing to undo: a guest that ran runs again, and what its disks became is noted.
func (w *Workflows) leaveAsSeen(ctx context.Context, run *Run) (Outcome, error) {
	subject, state, err := w.resizing(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	guest, err := subject.ours(ctx)
	if broker.Is(err, broker.NotFound) {
		state.Seen = hypervisor.PowerUnknown
		return Outcome{State: state, Note: guestMissing}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	if state.WasRunning && guest.Power == hypervisor.PowerStopped {
		operation, err := subject.driver.Power(ctx, subject.ref, hypervisor.Start, hypervisor.PowerOptions{})
		if err == nil && operation.Done() {
			return Outcome{After: 100 * time.Millisecond}, nil
		}
		return wait(operation, err)
	}
	state.Seen, state.Sizes = guest.Power, map[string]int64{}
	for _, disk := range guest.Disks {
		state.Sizes[disk.Key] = disk.SizeBytes
	}
	return Outcome{State: state}, nil
}

// changeOf is what the hypervisor has to be told to get from one spec to another; disks grow apart from it.
func changeOf(from, to broker.VMSpec, processor hypervisor.Processor) hypervisor.GuestChange {
	var change hypervisor.GuestChange
	if from.Sockets != to.Sockets {
		change.Sockets = &to.Sockets
	}
	if cores := to.Cores * to.Threads; from.Cores*from.Threads != cores {
		change.Cores = &cores
	}
	if from.MemoryMB != to.MemoryMB {
		change.MemoryMB = &to.MemoryMB
	}
	if from.CPUPercent != to.CPUPercent {
		change.Limits = &hypervisor.Limits{CPUPercent: to.CPUPercent}
	}
	if from.BandwidthMbps != to.BandwidthMbps {
		change.NIC = &hypervisor.NICSpec{MAC: to.MAC, Bridge: to.Bridge, RateMbps: to.BandwidthMbps}
	}
	if from.IO != to.IO {
		change.SystemDiskIO = &to.IO
	}
	if from.OnBoot != to.OnBoot {
		change.OnBoot = &to.OnBoot
	}
	if broker.ChangesProcessor(from, to) {
		change.Processor = &processor
	}
	return change
}

func (w *Workflows) configureResized(ctx context.Context, run *Run) (Outcome, error) {
	if ended, err := run.Ended(); ended {
		return Outcome{}, err
	}
	subject, state, err := w.resizing(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	if operation, found, err := w.retake(ctx, run, subject, hypervisor.OperationConfig); found || err != nil {
		return wait(operation, err)
	}
	processor, digest, err := w.processor(ctx, state.To)
	if err != nil {
		return Outcome{}, err
	}
	if state.Processor = subject.vm.Spec.Processor; broker.ChangesProcessor(subject.vm.Spec, state.To) {
		state.Processor = digest
	}
	outcome, err := wait(subject.driver.Configure(ctx, subject.ref, changeOf(subject.vm.Spec, state.To, processor)))
	outcome.State = state
	return outcome, err
}

func (w *Workflows) configureUnresized(ctx context.Context, run *Run) (Outcome, error) {
	subject, state, err := w.resizing(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	if ended, err := run.Ended(); ended && state.Restoring && !broker.Is(err, broker.NotFound) {
		return Outcome{}, err
	}
	if run.Result == nil && !run.Operation.Done() {
		return Outcome{Wait: run.Operation}, nil
	}
	processor, _, err := w.processor(ctx, subject.vm.Spec)
	if err != nil {
		return Outcome{}, err
	}
	change := changeOf(state.To, subject.vm.Spec, processor)
	if reflect.DeepEqual(change, hypervisor.GuestChange{}) {
		return Outcome{}, nil
	}
	operation, err := subject.driver.Configure(ctx, subject.ref, change)
	if broker.Is(err, broker.NotFound) {
		return Outcome{}, nil
	}
	outcome, err := wait(operation, err)
	state.Restoring = true
	outcome.State = state
	return outcome, err
}

// growDisks grows one disk at a time and comes back until all are large enough: the guest itself tells how far it came.
func (w *Workflows) growDisks(ctx context.Context, run *Run) (Outcome, error) {
	if ended, err := run.Ended(); ended && err != nil && !broker.Is(err, broker.NotFound) {
		return Outcome{}, err
	}
	subject, state, err := w.resizing(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	if operation, found, err := w.retake(ctx, run, subject, hypervisor.OperationResize); found || err != nil {
		return wait(operation, err)
	}
	guest, err := subject.ours(ctx)
	if err != nil {
		return Outcome{}, err
	}
	wanted := map[string]int64{}
	if state.To.SystemDiskGB > subject.vm.Spec.SystemDiskGB {
		wanted[hypervisor.SystemDisk] = int64(state.To.SystemDiskGB) << 30
	}
	for i, disk := range state.To.DataDisks {
		if i < len(subject.vm.Spec.DataDisks) && disk.SizeGB > subject.vm.Spec.DataDisks[i].SizeGB {
			wanted[dataDisk(disk).Key] = int64(disk.SizeGB) << 30
		}
	}
	for _, disk := range guest.Disks {
		if size, grows := wanted[disk.Key]; grows {
			delete(wanted, disk.Key)
			if disk.SizeBytes >= size {
				continue
			}
			operation, err := subject.driver.ResizeDisk(ctx, subject.ref, disk.Key, size)
			if err == nil && operation.Done() {
				return Outcome{After: 100 * time.Millisecond}, nil
			}
			return wait(operation, err)
		}
	}
	for key := range wanted {
		return Outcome{}, broker.Errorf(broker.Failed, "the guest has no disk %s", key)
	}
	return Outcome{}, nil
}

// restarts tells whether the guest is stopped and started for the change.
func (s resizeState) restarts(vm *broker.VM) bool {
	return s.Restart && s.WasRunning && broker.NeedsRestart(vm.Spec, s.To)
}

func (w *Workflows) stopForResize(ctx context.Context, run *Run) (Outcome, error) {
	subject, state, err := w.resizing(ctx, run)
	if err != nil || !state.restarts(subject.vm) {
		return Outcome{}, err
	}
	return w.shutDown(ctx, run, subject)
}

func (w *Workflows) startResized(ctx context.Context, run *Run) (Outcome, error) {
	subject, state, err := w.resizing(ctx, run)
	if err != nil || !state.restarts(subject.vm) {
		return Outcome{}, err
	}
	return w.startGuest(ctx, run)
}

func (w *Workflows) verifyResized(ctx context.Context, run *Run) (Outcome, error) {
	subject, state, err := w.resizing(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	if state.restarts(subject.vm) {
		_, err := w.runningGuest(ctx, run)
		return Outcome{}, err
	}
	if state.WasRunning && broker.NeedsRestart(subject.vm.Spec, state.To) {
		return Outcome{Note: fmt.Sprintf("%d×%d CPUs and %d MB are in force from the next start", state.To.Sockets, state.To.Cores*state.To.Threads, state.To.MemoryMB)}, nil
	}
	return Outcome{}, nil
}
