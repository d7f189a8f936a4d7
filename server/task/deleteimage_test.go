package task_test

import (
	"testing"
	"time"

	"gantry/server/broker"
)

func TestAnImageIsRemovedFromTheNodesThatDownloadedIt(t *testing.T) {
	for name, source := range map[string]broker.ImageSource{"downloaded": broker.ImageFromURL, "put there by hand": broker.ImageUploaded} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			ctx := t.Context()
			image, err := r.store.FindImageByName(ctx, "debian")
			check(t, err)
			image.Source = source
			check(t, r.store.UpdateImage(ctx, image))
			check(t, r.broker.DeleteImage(ctx, image.ID, broker.Actor{Name: "test"}))
			if _, err := r.store.FindImage(ctx, image.ID); !broker.Is(err, broker.NotFound) {
				t.Errorf("the image is still known: %v", err)
			}
			tasks, _, err := r.store.ListTasks(ctx, broker.TaskFilter{Kind: broker.DeleteImageKind}, broker.Page{Number: 1, Size: 9})
			check(t, err)
			if source == broker.ImageUploaded {
				if _, err := r.driver.FindImage(ctx, "node1", "debian-12.qcow2"); err != nil || len(tasks) != 0 {
					t.Errorf("%d tasks, the operator's own file: %v", len(tasks), err)
				}
				return
			}
			if len(tasks) != 1 {
				t.Fatalf("%d tasks", len(tasks))
			}
			r.awaitState(tasks[0].ID, broker.TaskDone)
			if _, err := r.driver.FindImage(ctx, "node1", "debian-12.qcow2"); !broker.Is(err, broker.NotFound) {
				t.Errorf("the node still has it: %v", err)
			}
		})
	}
}

func TestAnImageInUseStays(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	vm := r.machine(t)
	if err := r.broker.DeleteImage(ctx, vm.ImageID, broker.Actor{Name: "test"}); !broker.Is(err, broker.Conflict) {
		t.Fatalf("a machine has it: %v", err)
	}
	gone, err := r.broker.Destroy(ctx, vm.ID, broker.Actor{Name: "test"})
	check(t, err)
	r.awaitState(gone.ID, broker.TaskDone)
	check(t, r.store.SaveImageCopy(ctx, &broker.ImageCopy{ImageID: vm.ImageID, NodeID: r.node, State: broker.ImageDownloading, UpdatedAt: time.Now()}))
	if err := r.broker.DeleteImage(ctx, vm.ImageID, broker.Actor{Name: "test"}); !broker.Is(err, broker.Conflict) {
		t.Errorf("a node downloads it: %v", err)
	}
	check(t, r.store.SaveImageCopy(ctx, &broker.ImageCopy{ImageID: vm.ImageID, NodeID: r.node, State: broker.ImageFailed, UpdatedAt: time.Now()}))
	check(t, r.broker.DeleteImage(ctx, vm.ImageID, broker.Actor{Name: "test"}))
}
