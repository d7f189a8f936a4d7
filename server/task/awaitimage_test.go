package task_test

import (
	"strings"
	"testing"

	"gantry/server/broker"
	"gantry/server/hypervisor/memory"
)

func TestACreateWaitsForTheImageThatComesWithItsOrder(t *testing.T) {
	for name, row := range map[string]struct {
		url   string
		final broker.TaskState
	}{
		"that can be downloaded":    {"https://images.example.org/alma.qcow2", broker.TaskDone},
		"that can't be, in the end": {"https://images.example.org/none.qcow2", broker.TaskUndone},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRigOn(t, memory.Config{
				Images: map[string]int64{"debian-12.qcow2": 2 << 30}, Sources: map[string]memory.Source{"https://images.example.org/alma.qcow2": {SizeBytes: 2 << 30}},
			})
			ctx := t.Context()
			check(t, r.store.InsertImage(ctx, &broker.Image{Name: "alma", FileName: "alma.qcow2", Family: "linux", URL: row.url, CloudInit: true}))
			node, err := r.store.FindNode(ctx, r.node)
			check(t, err)
			node.CPUs, node.MemoryBytes = 8, 8<<30
			check(t, r.store.UpsertNode(ctx, node))
			vm, created, err := r.broker.PlaceAnywhere(ctx, broker.OrderRequest{Placement: &broker.Placement{}, Image: "alma"}, broker.Actor{Name: "test"})
			check(t, err)
			ended := r.await(created.ID, "final", func(task *broker.Task) bool { return task.State.Final() })
			if ended.State != row.final {
				t.Fatalf("the create ended %s: %s", ended.State, ended.Error)
			}
			if row.final == broker.TaskDone {
				if r.vm(t, vm.ID).Status != broker.VMRunning {
					t.Error("the machine does not run")
				}
				return
			}
			if !strings.Contains(ended.Error, "the image could not be downloaded to the node") {
				t.Errorf("error %q", ended.Error)
			}
			if _, err := r.store.FindVM(ctx, vm.ID); !broker.Is(err, broker.NotFound) {
				t.Errorf("what the order reserved is not back: %v", err)
			}
		})
	}
}
