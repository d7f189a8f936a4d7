package task

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gantry/server/broker"
	"gantry/server/fleet"
	"gantry/server/hypervisor"
)

// reinstallState is what a reinstall remembers. The old volumes are kept, detached, until the new system was seen running.
type reinstallState struct {
	broker.ReinstallData
	// Looked tells that the guest was looked at: the fields below hold.
	Looked     bool `json:"looked,omitempty"`
	WasRunning bool `json:"wasRunning,omitempty"`
	// Old maps each disk that is replaced to its volume; Owned are all volumes that the guest had before.
	Old   map[string]string `json:"old,omitempty"`
	Owned []string          `json:"owned,omitempty"`
	// Proven tells that the new system was seen running: from here on nothing is undone, only old volumes go.
	Proven bool `json:"proven,omitempty"`
	// Restoring tells that the operation waited for puts the old settings back.
	Restoring bool `json:"restoring,omitempty"`
	// SystemVolume is the new system disk's volume.
	SystemVolume string `json:"systemVolume,omitempty"`
	// Tries counts attempts to remove old volumes.
	Tries int              `json:"tries,omitempty"`
	Seen  hypervisor.Power `json:"seen,omitempty"`
}

// maxDropTries bounds how often removing an old volume is tried before it is left to the operator, named in the task's note.
const maxDropTries = 20

func (w *Workflows) reinstall() Workflow {
	return Workflow{
		Kind: broker.ReinstallKind, Deadline: time.Hour,
		Title: map[broker.Language]string{broker.English: "Reinstall", broker.Chinese: "重装系统"},
		Steps: []Step{
			{Name: "stop", Do: w.stopForReinstall, Undo: w.startAgain,
				Title: map[broker.Language]string{broker.English: "Stop the guest", broker.Chinese: "停止虚拟机"}},
			{Name: "replace-disks", Weight: 6, Do: w.replaceDisks, Undo: w.restoreDisks,
				Title: map[broker.Language]string{broker.English: "Make new disks, keep the old ones", broker.Chinese: "创建新磁盘并保留旧磁盘"}},
			{Name: "grow-disk", Do: w.growSystemDisk,
				Title: map[broker.Language]string{broker.English: "Grow the system disk", broker.Chinese: "扩容系统盘"}},
			{Name: "configure", Do: w.configureReinstalled, Undo: w.configureBack,
				Title: map[broker.Language]string{broker.English: "Write the new system's settings", broker.Chinese: "写入新系统配置"}},
			{Name: "start", Weight: 2, Do: w.startGuest, Undo: w.stopAgain,
				Title: map[broker.Language]string{broker.English: "Start the guest", broker.Chinese: "启动虚拟机"}},
			{Name: "verify", Do: w.proveReinstalled,
				Title: map[broker.Language]string{broker.English: "See it running", broker.Chinese: "确认运行状态"}},
			{Name: "remove-old-disks", Do: w.dropOldVolumes,
				Title: map[broker.Language]string{broker.English: "Remove the old disks", broker.Chinese: "删除旧磁盘"}},
		},
		Finish: w.finishReinstall,
	}
}

func (w *Workflows) finishReinstall(ctx context.Context, tx broker.Tx, run *Run, state broker.TaskState) error {
	var own reinstallState
	if err := run.Load(&own); err != nil {
		return err
	}
	if state != broker.TaskDone && !own.Proven {
		if err := w.settleAsSeen(ctx, tx, run, state); err != nil {
			return err
		}
		vm, err := tx.LockVM(ctx, *run.Task.VM)
		if err != nil {
			return err
		}
		vm.PendingPassword = ""
		return tx.UpdateVM(ctx, vm)
	}
	image, err := tx.FindImage(ctx, own.ImageID)
	if err != nil {
		return err
	}
	return w.settle(ctx, tx, run, broker.VMRunning, func(vm *broker.VM) {
		vm.ImageID, vm.Spec.Image, vm.Spec.ImageName, vm.Spec.CloudInit = image.ID, image.FileName, image.Name, image.CloudInit
		vm.Spec.OSFamily, vm.Spec.GuestAgent = image.Family, image.GuestAgent
		vm.StartedOnce, vm.SystemVolume = true, own.SystemVolume
		if vm.PendingPassword != "" {
			vm.Password, vm.PendingPassword = vm.PendingPassword, ""
		}
	})
}

// reinstalling loads what every step of a reinstall begins with.
func (w *Workflows) reinstalling(ctx context.Context, run *Run) (*subject, reinstallState, error) {
	var state reinstallState
	if err := run.Load(&state); err != nil {
		return nil, state, err
	}
	subject, err := w.subject(ctx, run)
	return subject, state, err
}

func (w *Workflows) stopForReinstall(ctx context.Context, run *Run) (Outcome, error) {
	if ended, err := run.Ended(); ended && err != nil && !broker.Is(err, broker.NotFound) {
		return Outcome{}, err
	}
	subject, state, err := w.reinstalling(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	guest, err := subject.ours(ctx)
	if err != nil {
		return Outcome{}, err
	}
	if !state.Looked {
		// An earlier attempt may have stopped it without being able to say that it ran.
		ranBefore := run.Attempt > 1 && state.Before == broker.VMRunning
		state.Looked, state.WasRunning = true, guest.Power == hypervisor.PowerRunning || ranBefore
		state.Old = map[string]string{}
		for _, key := range replacedDisks(subject.vm, state.ResetDataDisks) {
			state.Old[key] = volumeOf(guest, key)
		}
		for _, disk := range guest.Disks {
			state.Owned = append(state.Owned, disk.Volume)
		}
		state.Owned = append(state.Owned, guest.Detached...)
	}
	if guest.Power == hypervisor.PowerStopped {
		return Outcome{State: state}, nil
	}
	operation, err := subject.driver.Power(ctx, subject.ref, hypervisor.Stop, hypervisor.PowerOptions{})
	if err == nil && operation.Done() {
		return Outcome{State: state, After: 100 * time.Millisecond}, nil
	}
	outcome, err := wait(operation, err)
	outcome.State = state
	return outcome, err
}

// replacedDisks lists the disks that a reinstall replaces, the system disk first.
func replacedDisks(vm *broker.VM, dataDisks bool) []string {
	keys := []string{hypervisor.SystemDisk}
	if dataDisks {
		for _, disk := range vm.Spec.DataDisks {
			keys = append(keys, fmt.Sprintf("scsi%d", disk.Number))
		}
	}
	return keys
}

// startAgain is the last thing to undo: a guest that ran runs again, with its old disk.
func (w *Workflows) startAgain(ctx context.Context, run *Run) (Outcome, error) {
	subject, state, err := w.reinstalling(ctx, run)
	if err != nil || state.Proven {
		return Outcome{}, err
	}
	if run.Result == nil && !run.Operation.Done() {
		return Outcome{Wait: run.Operation}, nil
	}
	guest, err := subject.ours(ctx)
	if broker.Is(err, broker.NotFound) {
		return Outcome{Note: "the guest is missing on the hypervisor"}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	state.Seen = guest.Power
	if !state.Looked || !state.WasRunning || guest.Power == hypervisor.PowerRunning {
		return Outcome{State: state}, nil
	}
	operation, err := subject.driver.Power(ctx, subject.ref, hypervisor.Start, hypervisor.PowerOptions{})
	if err != nil {
		return Outcome{}, err
	}
	if operation.Done() {
		return Outcome{After: 100 * time.Millisecond}, nil
	}
	return Outcome{Wait: operation}, nil
}

// replaceDisks replaces one disk at a time and comes back until none is old. What is there tells how far an earlier attempt came.
func (w *Workflows) replaceDisks(ctx context.Context, run *Run) (Outcome, error) {
	if ended, err := run.Ended(); ended && err != nil && !broker.Is(err, broker.NotFound) {
		return Outcome{}, err
	}
	subject, state, err := w.reinstalling(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	if operation, found, err := w.retake(ctx, run, subject, hypervisor.OperationConfig); found || err != nil {
		return wait(operation, err)
	}
	guest, err := subject.ours(ctx)
	if err != nil {
		return Outcome{}, err
	}
	for _, key := range replacedDisks(subject.vm, state.ResetDataDisks) {
		if volume := volumeOf(guest, key); volume != "" && volume != state.Old[key] {
			continue
		}
		if key == hypervisor.SystemDisk && state.ByDaemon {
			return w.replaceByDaemon(ctx, run, subject, state)
		}
		return wait(subject.driver.ReplaceDisk(ctx, subject.ref, w.freshDisk(subject.vm, state, key)))
	}
	return Outcome{}, nil
}

func (w *Workflows) freshDisk(vm *broker.VM, state reinstallState, key string) hypervisor.DiskSpec {
	for _, disk := range vm.Spec.DataDisks {
		if spec := dataDisk(disk); spec.Key == key {
			return spec
		}
	}
	return systemDisk(vm, state.Volume)
}

// replaceByDaemon imports beside the old disk, then swaps them.
func (w *Workflows) replaceByDaemon(ctx context.Context, run *Run, subject *subject, state reinstallState) (Outcome, error) {
	daemon, err := w.hypervisors.Daemon(ctx, subject.vm.NodeID)
	if err != nil {
		return Outcome{}, err
	}
	operation, err := daemon.Operation(ctx, importKey(run))
	if err = daemonAnswer(err); broker.Is(err, broker.NotFound) {
		return w.orderImport(ctx, run, subject, state.Volume)
	}
	if err != nil {
		return Outcome{}, err
	}
	if operation.VolumeID == "" {
		return Outcome{Wait: fleet.DaemonOperation(operation.ID)}, nil
	}
	return wait(subject.driver.AttachVolume(ctx, subject.ref, operation.VolumeID, systemDisk(subject.vm, "")))
}

func daemonAnswer(err error) error {
	if err == nil {
		return nil
	}
	return fleet.DaemonError(err)
}

// restoreDisks puts every old volume back in its place, then removes the volumes that the reinstall made.
func (w *Workflows) restoreDisks(ctx context.Context, run *Run) (Outcome, error) {
	subject, state, err := w.reinstalling(ctx, run)
	if err != nil || state.Proven {
		return Outcome{}, err
	}
	if run.Result == nil && !run.Operation.Done() {
		return Outcome{Wait: run.Operation}, nil
	}
	guest, err := subject.ours(ctx)
	if broker.Is(err, broker.NotFound) {
		return Outcome{}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	for _, key := range replacedDisks(subject.vm, state.ResetDataDisks) {
		old := state.Old[key]
		inPlace := volumeOf(guest, key) == old
		if old == "" || inPlace && guest.Power != hypervisor.PowerStopped {
			continue
		}
		// Where the old volume is in place, too: a change that failed halfway could come into force at the next start.
		spec := w.freshDisk(subject.vm, state, key)
		operation, err := subject.driver.AttachVolume(ctx, subject.ref, old, hypervisor.DiskSpec{Key: key, IO: spec.IO})
		switch {
		case err != nil || !operation.Done():
			return wait(operation, err)
		case !inPlace:
			return Outcome{After: 100 * time.Millisecond}, nil
		}
	}
	for _, volume := range guest.Detached {
		if slices.Contains(state.Owned, volume) {
			continue
		}
		if err := subject.driver.DeleteVolume(ctx, subject.ref, volume); err != nil {
			return Outcome{}, err
		}
	}
	return Outcome{}, nil
}

func (w *Workflows) configureReinstalled(ctx context.Context, run *Run) (Outcome, error) {
	if ended, err := run.Ended(); ended {
		return Outcome{}, err
	}
	subject, state, err := w.reinstalling(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	if operation, found, err := w.retake(ctx, run, subject, hypervisor.OperationConfig); found || err != nil {
		return wait(operation, err)
	}
	image, err := w.store.FindImage(ctx, state.ImageID)
	if err != nil {
		return Outcome{}, err
	}
	password := subject.vm.Password
	if subject.vm.PendingPassword != "" {
		password = subject.vm.PendingPassword
	}
	change := hypervisor.GuestChange{OSFamily: &image.Family, GuestAgent: &image.GuestAgent}
	if image.CloudInit {
		change.CloudInit = cloudInit(subject.vm, password)
	}
	return wait(subject.driver.Configure(ctx, subject.ref, change))
}

func (w *Workflows) configureBack(ctx context.Context, run *Run) (Outcome, error) {
	subject, state, err := w.reinstalling(ctx, run)
	if err != nil || state.Proven {
		return Outcome{}, err
	}
	if ended, err := run.Ended(); ended && state.Restoring && !broker.Is(err, broker.NotFound) {
		return Outcome{}, err
	}
	family, agent := subject.vm.Spec.OSFamily, subject.vm.Spec.GuestAgent
	change := hypervisor.GuestChange{OSFamily: &family, GuestAgent: &agent}
	if subject.vm.Spec.CloudInit {
		change.CloudInit = cloudInit(subject.vm, subject.vm.Password)
	}
	// No look for an earlier attempt: what is found could be the new system's settings, and writing the old ones twice does no harm.
	operation, err := subject.driver.Configure(ctx, subject.ref, change)
	if broker.Is(err, broker.NotFound) {
		return Outcome{}, nil
	}
	outcome, err := wait(operation, err)
	if !operation.Done() {
		state.Restoring = true
		outcome.State = state
	}
	return outcome, err
}

// stopAgain takes back the start: disks are swapped back while the guest is off.
func (w *Workflows) stopAgain(ctx context.Context, run *Run) (Outcome, error) {
	subject, state, err := w.reinstalling(ctx, run)
	if err != nil || state.Proven {
		return Outcome{}, err
	}
	if run.Result == nil && !run.Operation.Done() {
		return Outcome{Wait: run.Operation}, nil
	}
	guest, err := subject.ours(ctx)
	if broker.Is(err, broker.NotFound) || (err == nil && guest.Power == hypervisor.PowerStopped) {
		return Outcome{}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	operation, err := subject.driver.Power(ctx, subject.ref, hypervisor.Stop, hypervisor.PowerOptions{})
	if err == nil && operation.Done() {
		return Outcome{After: 100 * time.Millisecond}, nil
	}
	return wait(operation, err)
}

func (w *Workflows) proveReinstalled(ctx context.Context, run *Run) (Outcome, error) {
	guest, err := w.runningGuest(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	var state reinstallState
	if err := run.Load(&state); err != nil {
		return Outcome{}, err
	}
	state.Proven, state.SystemVolume = true, volumeOf(guest, hypervisor.SystemDisk)
	return Outcome{State: state}, nil
}

// dropOldVolumes removes what the new system replaced, and what attempts left that died with their node. The new system runs by now, so a volume that can't be removed is named in
// the task's note and does not undo the reinstall.
func (w *Workflows) dropOldVolumes(ctx context.Context, run *Run) (Outcome, error) {
	subject, state, err := w.reinstalling(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	guest, err := subject.ours(ctx)
	if broker.Is(err, broker.NotFound) {
		return Outcome{Note: "the guest is missing on the hypervisor"}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	for _, volume := range replacedVolumes(subject.vm, state, guest) {
		err := subject.driver.DeleteVolume(ctx, subject.ref, volume)
		if err == nil || broker.Is(err, broker.NotFound) {
			continue
		}
		run.Log.Warn("remove old volume", "volume", volume, "error", err)
		state.Tries++
		if state.Tries < maxDropTries {
			return Outcome{State: state, After: time.Duration(state.Tries) * time.Second, Note: "removing old disks: " + broker.DetailOf(err)}, nil
		}
		return Outcome{State: state, Note: fmt.Sprintf("old volume %s could not be removed: %s", volume, broker.DetailOf(err))}, nil
	}
	return Outcome{}, nil
}

// replacedVolumes are the detached volumes that a reinstall has no more use for: the old ones, and all that came with it.
func replacedVolumes(vm *broker.VM, state reinstallState, guest hypervisor.Guest) (volumes []string) {
	for _, volume := range guest.Detached {
		if !slices.Contains(state.Owned, volume) {
			volumes = append(volumes, volume)
		}
	}
	for _, key := range replacedDisks(vm, state.ResetDataDisks) {
		if volume := state.Old[key]; slices.Contains(guest.Detached, volume) {
			volumes = append(volumes, volume)
		}
	}
	return volumes
}
