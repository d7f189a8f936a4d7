package store_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"gantry/server/broker"
)

// lockWaitsSoFar is how often a transaction of the MariaDB server had to wait for a row lock.
func lockWaitsSoFar(t *testing.T, dsn string) (waits string) {
	t.Helper()
	raw, err := sql.Open("mysql", strings.TrimPrefix(dsn, "mysql:"))
	check(t, err)
	defer raw.Close()
	var name string
	check(t, raw.QueryRow("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_waits'").Scan(&name, &waits))
	return waits
}

// lockWaits waits until a transaction of the MariaDB server waits for a row lock, or ended is closed.
func lockWaits(t *testing.T, dsn string, ended <-chan struct{}) {
	t.Helper()
	raw, err := sql.Open("mysql", strings.TrimPrefix(dsn, "mysql:"))
	check(t, err)
	defer raw.Close()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		var waiting int
		check(t, raw.QueryRow("SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'").Scan(&waiting))
		if waiting > 0 {
			return
		}
		select {
		case <-ended:
			return
		case <-time.After(150 * time.Millisecond): // InnoDB refreshes the table only when nobody has read it for 100 ms
		}
	}
	t.Error("no transaction came to wait")
}

func TestAnAddressThatIsGivenBackInTheLastMomentIsNotMissed(t *testing.T) {
	for name, dsn := range databases {
		t.Run(name, func(t *testing.T) {
			d := dsn(t)
			s := open(t, d)
			cluster, node := place(t, s)
			addPool(t, s, node.ID, 1)
			first, second := addVM(t, s, cluster.ID, node.ID), addVM(t, s, cluster.ID, node.ID)
			var got error
			ended := make(chan struct{})
			thought := errors.New("thought better of it")
			err := s.Transact(t.Context(), func(tx broker.Tx) error {
				if _, err := tx.ReserveAddresses(t.Context(), node.ID, 0, 4, 1, first.ID); err != nil {
					return err
				}
				go func() {
					defer close(ended)
					_, got = s.ReserveAddresses(t.Context(), node.ID, 0, 4, 1, second.ID)
				}()
				if name == "mariadb" {
					lockWaits(t, d, ended)
				}
				return thought
			})
			if !errors.Is(err, thought) {
				t.Fatal(err)
			}
			<-ended
			if got != nil {
				t.Errorf("the only address became free, but the waiting order got: %v", got)
			}
		})
	}
}

// A deadlock makes MariaDB take back the whole transaction. When the work overlooks that and goes on, what follows must not be
// carried out on its own.
func TestWorkThatOverlooksADeadlockIsRepeatedAsAWhole(t *testing.T) {
	for name, dsn := range databases {
		t.Run(name, func(t *testing.T) {
			s := open(t, dsn(t))
			cluster, node := place(t, s)
			vms := []*broker.VM{addVM(t, s, cluster.ID, node.ID), addVM(t, s, cluster.ID, node.ID)}
			count := func(tx broker.Tx, id int64) {
				if vm, err := tx.LockVM(t.Context(), id); err == nil {
					vm.ImageID++
					_ = tx.UpdateVM(t.Context(), vm)
				}
			}
			var both, all sync.WaitGroup
			both.Add(2)
			for number := range 2 {
				met := name == "sqlite" // there one transaction follows the other: they never meet
				all.Go(func() {
					check(t, s.Transact(t.Context(), func(tx broker.Tx) error {
						count(tx, vms[number].ID)
						if !met {
							met = true
							both.Done()
							both.Wait()
						}
						count(tx, vms[1-number].ID)
						return nil
					}))
				})
			}
			all.Wait()
			for number, vm := range vms {
				if found, err := s.FindVM(t.Context(), vm.ID); err != nil || found.ImageID != 2 {
					t.Errorf("VM %d was counted %d times, want 2 (%v)", number, found.ImageID, err)
				}
			}
		})
	}
}

// Whoever works on one row must not wait for who works on its neighbour. SQLite has one writer, so this is about MariaDB alone.
func TestNeighboursAreNotLocked(t *testing.T) {
	dsn := databases["mariadb"](t)
	s := open(t, dsn)
	cluster, node := place(t, s)
	pool := addPool(t, s, node.ID, 6)
	vms := []*broker.VM{addVM(t, s, cluster.ID, node.ID), addVM(t, s, cluster.ID, node.ID), addVM(t, s, cluster.ID, node.ID)}
	var running, waiting []*broker.Task
	for range 3 {
		addTask(t, s)
		running = append(running, claimOne(t, s, "a", start))
		waiting = append(waiting, addTask(t, s, func(task *broker.Task) {
			task.State, task.Operation, task.RunAfter = broker.TaskWaiting, "op", start.Add(time.Hour)
		}))
	}
	check(t, s.Transact(t.Context(), func(tx broker.Tx) error {
		for _, middle := range []func() error{
			func() error { _, err := tx.LockVM(t.Context(), vms[1].ID); return err },
			func() error { return tx.UpdateVM(t.Context(), vms[1]) },
			func() error { return tx.SaveTask(t.Context(), running[1], "a", nil) },
			func() error { return tx.NoteProgress(t.Context(), waiting[1].ID, "op", 10, "") },
			func() error { return tx.WakeTask(t.Context(), waiting[1].ID, "op", start.Add(time.Minute)) },
			func() error { _, err := tx.ReserveAddresses(t.Context(), node.ID, 0, 4, 1, vms[1].ID); return err },
		} {
			check(t, middle())
		}
		// Keeps a failing test from waiting for each lock in turn.
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for i := 0; i < 3; i += 2 {
			for what, call := range map[string]func() error{
				"LockVM": func() error {
					return s.Transact(ctx, func(tx broker.Tx) error { _, err := tx.LockVM(ctx, vms[i].ID); return err })
				},
				"UpdateVM":         func() error { return s.UpdateVM(ctx, vms[i]) },
				"InsertVM":         func() error { return s.InsertVM(ctx, newVM(cluster.ID, node.ID)) },
				"SaveObservations": func() error { return s.SaveObservations(ctx, cluster.ID, []broker.VMObservation{{VM: vms[i].ID}}) },
				"InsertTask":       func() error { return s.InsertTask(ctx, newTask()) },
				"SaveTask":         func() error { return s.SaveTask(ctx, running[i], "a", nil) },
				"RenewLeases":      func() error { return s.RenewLeases(ctx, "a", []int64{running[i].ID}, start.Add(time.Hour)) },
				"NoteProgress":     func() error { return s.NoteProgress(ctx, waiting[i].ID, "op", 10, "") },
				"WakeTask":         func() error { return s.WakeTask(ctx, waiting[i].ID, "op", start.Add(time.Minute)) },
				"RequestCancel":    func() error { return s.RequestCancel(ctx, waiting[i].ID, "x", start.Add(time.Minute)) },
				"ClaimTasks": func() error {
					_, err := s.ClaimTasks(ctx, "b", 1, broker.TaskLimits{}, start, start.Add(time.Hour))
					return err
				},
				"ReserveAddresses": func() error { _, err := s.ReserveAddresses(ctx, node.ID, 0, 4, 1, vms[i].ID); return err },
				"of one pool":      func() error { _, err := s.ReserveAddresses(ctx, node.ID, pool.ID, 4, 1, vms[i].ID); return err },
				"ReleaseAddresses": func() error { return s.ReleaseAddresses(ctx, vms[i].ID) },
			} {
				before := lockWaitsSoFar(t, dsn)
				if err := call(); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				if lockWaitsSoFar(t, dsn) != before {
					t.Errorf("%s waited for a neighbour's lock", what)
				}
			}
		}
		return nil
	}))
}
