package task

import (
	"context"
	"fmt"

	"gantry/internal/controlledclient"
	"gantry/server/broker"
	"gantry/server/fleet"
)

// Where a node's API can't import an image, its daemon does: import-disk orders it, attach-disk makes the volume the system disk.
// On nodes whose API can, both steps have nothing to do.

// importOrdered imports the image that the VM was ordered with.
func (w *Workflows) importOrdered(ctx context.Context, run *Run) (Outcome, error) {
	if ended, err := run.Ended(); ended {
		return Outcome{}, err
	}
	subject, err := w.subject(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	imageCopy, err := w.store.FindImageCopy(ctx, subject.vm.ImageID, subject.vm.NodeID)
	if err != nil || !imageCopy.ByDaemon {
		return Outcome{}, err
	}
	return w.orderImport(ctx, run, subject, imageCopy.Volume)
}

// orderImport asks the daemon to import. The key makes it safe to ask again: the daemon never imports twice for one key.
func (w *Workflows) orderImport(ctx context.Context, run *Run, subject *subject, path string) (Outcome, error) {
	daemon, err := w.hypervisors.Daemon(ctx, subject.vm.NodeID)
	if err != nil {
		return Outcome{}, err
	}
	operation, err := daemon.ImportDisk(ctx, controlledclient.ImportDisk{
		VMID: int64(subject.vm.VMID), ImagePath: path, SavePath: subject.vm.Spec.Storage, Operation: importKey(run),
	})
	if err != nil {
		return Outcome{}, fleet.DaemonError(err)
	}
	return Outcome{Wait: fleet.DaemonOperation(operation.ID)}, nil
}

func importKey(run *Run) string { return fmt.Sprintf("task-%d", run.Task.ID) }

// awaitImport lets an import that is under way come to its end: the guest can't be deleted before.
func (w *Workflows) awaitImport(_ context.Context, run *Run) (Outcome, error) {
	if run.Result != nil || run.Operation.Done() {
		return Outcome{}, nil
	}
	return Outcome{Wait: run.Operation}, nil
}

// attachOrdered makes the volume that importOrdered made the system disk.
func (w *Workflows) attachOrdered(ctx context.Context, run *Run) (Outcome, error) {
	if ended, err := run.Ended(); ended {
		return Outcome{}, err
	}
	subject, err := w.subject(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	imageCopy, err := w.store.FindImageCopy(ctx, subject.vm.ImageID, subject.vm.NodeID)
	if err != nil || !imageCopy.ByDaemon {
		return Outcome{}, err
	}
	volume, err := w.importedVolume(ctx, run, subject)
	if err != nil {
		return Outcome{}, err
	}
	return wait(subject.driver.AttachVolume(ctx, subject.ref, volume, systemDisk(subject.vm, "")))
}

func (w *Workflows) importedVolume(ctx context.Context, run *Run, subject *subject) (string, error) {
	daemon, err := w.hypervisors.Daemon(ctx, subject.vm.NodeID)
	if err != nil {
		return "", err
	}
	operation, err := daemon.Operation(ctx, importKey(run))
	if err != nil {
		return "", fleet.DaemonError(err)
	}
	if operation.VolumeID == "" {
		return "", broker.Errorf(broker.Failed, "the node's daemon did not say which volume it imported")
	}
	return operation.VolumeID, nil
}
