package task_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
	"gantry/server/store"
	"gantry/server/task"
)

// crashLease is short, so that a dead engine's task is taken over soon.
const crashLease = 300 * time.Millisecond

// crashOrder tells the child process what to do; it is passed in the environment as JSON.
type crashOrder struct {
	DSN   string
	World string // the folder that stands for the hypervisor
	Fails bool   // the last step fails, so that the task is undone
	At    int64  // the boundary to die at, counted from 1
}

const crashVariable = "GANTRY_TASK_CRASH"

// world is a hypervisor whose guests are files: what is in it survives the engine.
type world struct{ folder string }

func (w world) has(name string) bool {
	_, err := os.Stat(filepath.Join(w.folder, name))
	return err == nil
}

// create fails when the file is there: doing it twice would be a second machine.
func (w world) create(name string) error {
	file, err := os.OpenFile(filepath.Join(w.folder, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return broker.Errorf(broker.Exists, "%s exists already", name)
	}
	return file.Close()
}

func (w world) remove(name string) error {
	if err := os.Remove(filepath.Join(w.folder, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// OperationState: operation X has ended when the file ended-X is there, which the first question makes.
func (w world) OperationState(_ context.Context, _, _ int64, operation hypervisor.Operation) (hypervisor.OperationState, error) {
	if w.has("ended-" + operation.ID) {
		return hypervisor.OperationState{Finished: true}, nil
	}
	return hypervisor.OperationState{}, w.create("ended-" + operation.ID)
}

// crashWorkflow reserves in the database, makes something outside, waits for an operation, and finishes.
func crashWorkflow(w world, fails bool) task.Workflow {
	free := func(name string) func(context.Context, *task.Run) (task.Outcome, error) {
		return func(context.Context, *task.Run) (task.Outcome, error) {
			return task.Outcome{}, w.remove(name)
		}
	}
	return task.Workflow{
		Kind: "crash",
		Steps: []task.Step{
			{Name: "reserve", Do: func(context.Context, *task.Run) (task.Outcome, error) {
				return task.Outcome{Commit: func(ctx context.Context, tx broker.Tx) error { return count(ctx, tx, 1) }}, nil
			}, Undo: func(_ context.Context, run *task.Run) (task.Outcome, error) {
				return task.Outcome{Commit: func(ctx context.Context, tx broker.Tx) error { return count(ctx, tx, -1) }}, nil
			}},
			{Name: "make", Do: func(_ context.Context, run *task.Run) (task.Outcome, error) {
				if run.Attempt > 1 && w.has("guest") {
					return task.Outcome{Note: "it was there already"}, nil
				}
				return task.Outcome{}, w.create("guest")
			}, Undo: free("guest")},
			{Name: "copy", Do: func(_ context.Context, run *task.Run) (task.Outcome, error) {
				if ended, err := run.Ended(); ended {
					return task.Outcome{}, err
				}
				if run.Attempt <= 1 || !w.has("copy") {
					if err := w.create("copy"); err != nil {
						return task.Outcome{}, err
					}
				}
				return task.Outcome{Wait: hypervisor.Operation{ID: "copy"}}, nil
			}, Undo: free("copy")},
			{Name: "start", Do: func(context.Context, *task.Run) (task.Outcome, error) {
				if fails {
					return task.Outcome{}, broker.Errorf(broker.Failed, "it does not start")
				}
				return task.Outcome{}, nil
			}},
		},
		Finish: func(ctx context.Context, tx broker.Tx, run *task.Run, final broker.TaskState) error {
			return tx.SaveSetting(ctx, "final", string(final), false)
		},
	}
}

// count keeps how much is reserved: doing the step twice would make it 2.
func count(ctx context.Context, tx broker.Tx, change int) error {
	text, err := tx.Setting(ctx, "reserved")
	if err != nil && !broker.Is(err, broker.NotFound) {
		return err
	}
	reserved, _ := strconv.Atoi(text)
	return tx.SaveSetting(ctx, "reserved", strconv.Itoa(reserved+change), false)
}

// crashChild runs an engine that kills its own process at a boundary. It exits 0 when the task ended before that.
func crashChild(order crashOrder) error {
	s, err := openPlain(order.DSN)
	if err != nil {
		return err
	}
	var passed atomic.Int64
	ended := make(chan struct{})
	engine, err := task.New(task.Config{
		Store: s, Workflows: []task.Workflow{crashWorkflow(world{order.World}, order.Fails)}, Operations: world{order.World},
		Lease: crashLease,
		Boundary: func(task.Moment, broker.Task) {
			if passed.Add(1) == order.At {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		},
		OnChange: func(changed broker.Task) {
			if changed.State.Final() {
				close(ended)
			}
		},
	})
	if err != nil {
		return err
	}
	if err := engine.Start(context.Background()); err != nil {
		return err
	}
	select {
	case <-ended:
	case <-time.After(patience):
		return errors.New("the task does not end")
	}
	return errors.Join(engine.Stop(context.Background()), s.Close())
}

func TestKilledAtEachBoundary(t *testing.T) {
	for name, dsn := range databases {
		for _, fails := range []bool{false, true} {
			final := broker.TaskDone
			if fails {
				final = broker.TaskUndone
			}
			t.Run(fmt.Sprintf("%s/%s", name, final), func(t *testing.T) {
				killed := 0
				for at := int64(1); killInChild(t, dsn(t), fails, at, final); at++ {
					killed++
				}
				// Four steps with three moments each, a wait, and the way back.
				if least := map[bool]int{false: 13, true: 20}[fails]; killed < least {
					t.Errorf("only %d boundaries were passed, want %d at least", killed, least)
				}
			})
		}
	}
}

// killInChild lets a child die at a boundary and a second engine go on. It tells whether the child came as far as that boundary.
func killInChild(t *testing.T, dsn string, fails bool, at int64, final broker.TaskState) bool {
	t.Helper()
	s := openStore(t, dsn)
	w := world{t.TempDir()}
	b := newBench(t, s, func(*bench) []task.Workflow { return []task.Workflow{crashWorkflow(w, fails)} },
		func(config *task.Config) { config.Lease, config.Operations = crashLease, w })
	id := b.add("crash")

	order, err := json.Marshal(crashOrder{DSN: dsn, World: w.folder, Fails: fails, At: at})
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), crashVariable+"="+string(order))
	output, err := child.CombinedOutput()
	var exit *exec.ExitError
	died := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
	if err != nil && !died {
		t.Fatalf("boundary %d: child: %v: %s", at, err, output)
	}
	if died {
		b.start()
		if found, err := s.FindTask(t.Context(), id); err != nil || !found.State.Final() {
			b.await(id, "final", func(changed *broker.Task) bool { return changed.State.Final() })
		}
		b.stop()
	}
	found, err := s.FindTask(t.Context(), id)
	if err != nil || found.State != final {
		t.Fatalf("boundary %d: task %+v, %v", at, found, err)
	}
	reserved, guests := "1", true
	if fails {
		reserved, guests = "0", false
	}
	if got := setting(t, s, "reserved"); got != reserved || w.has("guest") != guests || w.has("copy") != guests || setting(t, s, "final") != string(final) {
		t.Errorf("boundary %d: reserved %s, guest %v, copy %v; history %v", at, got, w.has("guest"), w.has("copy"), b.history(id))
	}
	return died
}

// openPlain opens a store outside a test.
func openPlain(dsn string) (*store.Store, error) {
	keyring, err := testKeyring()
	if err != nil {
		return nil, err
	}
	return store.Open(context.Background(), store.Config{DSN: dsn, Secrets: keyring})
}

// runCrashChild is the whole of a process that a test started to be killed.
func runCrashChild(text string) int {
	var order crashOrder
	err := json.NewDecoder(strings.NewReader(text)).Decode(&order)
	if err == nil {
		err = crashChild(order)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
