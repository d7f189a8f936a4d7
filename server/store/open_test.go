package store_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gantry/internal/secrets"
	"gantry/server/broker"
	"gantry/server/store"
)

func TestOpensThatComeTogetherMigrateOnce(t *testing.T) {
	for name, dsn := range databases {
		t.Run(name, func(t *testing.T) {
			d := dsn(t)
			var group sync.WaitGroup
			for range 4 {
				group.Go(func() {
					s, err := store.Open(t.Context(), store.Config{DSN: d, Secrets: keyring(t)})
					if err != nil {
						t.Error(err)
						return
					}
					defer s.Close()
					if _, err := s.InsertSetting(t.Context(), "first", "one", false); err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
			// Up again on what is there already changes nothing.
			if got, err := open(t, d).Setting(t.Context(), "first"); err != nil || got != "one" {
				t.Errorf("setting after opening again: %q, %v", got, err)
			}
		})
	}
}

func TestWhatWasWrittenIsThereAfterOpeningAgain(t *testing.T) {
	for name, dsn := range databases {
		t.Run(name, func(t *testing.T) {
			d := dsn(t)
			s, err := store.Open(t.Context(), store.Config{DSN: d, Secrets: keyring(t)})
			check(t, err)
			cluster := addCluster(t, s, 100, 199)
			check(t, s.Close())
			found, err := open(t, d).FindCluster(t.Context(), cluster.ID)
			if err != nil || found.Options["tokenSecret"] != "s3cret-of-a-cluster" || !found.CreatedAt.Equal(start) {
				t.Errorf("got %+v, %v", found, err)
			}
		})
	}
}

func TestBadConfiguration(t *testing.T) {
	for name, dsn := range map[string]string{
		"empty": "", "unknown kind": "postgres://h/db", "no path": "sqlite:", "no database": "mysql://root:hunter2@localhost:3306",
		"no host": "mysql:///db", "broken driver DSN": "mysql:root:hunter2@tcp(localhost", "bad option": "mysql://root:hunter2@h/db?timeout=x",
		"nobody there":   "mysql://root:hunter2@127.0.0.1:1/db",
		"path is folder": "sqlite:" + t.TempDir(),
	} {
		s, err := store.Open(t.Context(), store.Config{DSN: dsn, Secrets: keyring(t)})
		if err == nil {
			_ = s.Close()
			t.Errorf("%s: opened", name)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error tells the password: %v", name, err)
		}
	}
	if _, err := store.Open(t.Context(), store.Config{DSN: "sqlite:" + filepath.Join(t.TempDir(), "x.db")}); err == nil {
		t.Error("opened without a keyring")
	}
}

func TestDatabaseFileIsPrivateAndItsPathMayBeOdd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a folder?with#signs%41", "gantry.db")
	open(t, "sqlite:"+path)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info, err)
	}
}

func TestSecretsAreNotInTheDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gantry.db")
	s := open(t, "sqlite:"+path)
	cluster, node := place(t, s)
	node.SSHPassword, node.Daemon.Secret = "s3cret-of-ssh", "s3cret-of-a-daemon"
	check(t, s.UpdateNode(t.Context(), node))
	vm := addVM(t, s, cluster.ID, node.ID)
	other := addVM(t, s, cluster.ID, node.ID)
	check(t, s.SaveSetting(t.Context(), "jwt", "s3cret-of-tokens", true))
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(path + suffix)
		check(t, err)
		if strings.Contains(string(content), "s3cret-of") {
			t.Errorf("gantry.db%s holds a secret in the clear", suffix)
		}
	}
	// A value that was copied to another row is not taken.
	raw, err := sql.Open("sqlite", path)
	check(t, err)
	defer raw.Close()
	_, err = raw.Exec("UPDATE vms SET password = (SELECT password FROM vms WHERE id = ?) WHERE id = ?", other.ID, vm.ID)
	check(t, err)
	if _, err := s.FindVM(t.Context(), vm.ID); !broker.Is(err, broker.Internal) {
		t.Errorf("a password copied from another row: %v", err)
	}
	if found, err := s.FindVM(t.Context(), other.ID); err != nil || found.Password != "s3cret-of-a-guest" {
		t.Errorf("its own password: %v", err)
	}
	// Nor is anything read with another key.
	check(t, s.Close())
	strange, err := secrets.Open(filepath.Join(t.TempDir(), "key"), "")
	check(t, err)
	opened, err := store.Open(t.Context(), store.Config{DSN: "sqlite:" + path, Secrets: strange})
	check(t, err)
	defer opened.Close()
	if _, err := opened.FindCluster(t.Context(), cluster.ID); err == nil {
		t.Error("a cluster was read with another key")
	}
}

func TestTransact(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		mine := errors.New("mine")
		err := s.Transact(ctx, func(tx broker.Tx) error {
			check(t, tx.SaveSetting(ctx, "name", "inside", false))
			if got, err := tx.Setting(ctx, "name"); err != nil || got != "inside" {
				t.Errorf("a transaction does not see its own writes: %q, %v", got, err)
			}
			if _, err := s.Setting(ctx, "name"); !broker.Is(err, broker.NotFound) {
				t.Errorf("others see what is not committed: %v", err)
			}
			return mine
		})
		if !errors.Is(err, mine) {
			t.Errorf("the error of the work came back as %v", err)
		}
		if _, err := s.Setting(ctx, "name"); !broker.Is(err, broker.NotFound) {
			t.Errorf("the work failed, and its effect stayed: %v", err)
		}
		// A failed statement whose error the work deals with does not spoil the rest.
		check(t, s.Transact(ctx, func(tx broker.Tx) error {
			refused(t, tx.UpdateImage(ctx, &broker.Image{ID: 99}), broker.NotFound, "unknown image")
			return tx.SaveSetting(ctx, "name", "second", false)
		}))
		if got, _ := s.Setting(ctx, "name"); got != "second" {
			t.Errorf("got %q", got)
		}
		cancelled, cancel := context.WithCancel(ctx)
		err = s.Transact(cancelled, func(tx broker.Tx) error {
			check(t, tx.SaveSetting(cancelled, "name", "third", false))
			cancel()
			return tx.SaveSetting(cancelled, "other", "third", false)
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled in the middle: %v", err)
		}
		if got, _ := s.Setting(ctx, "name"); got != "second" {
			t.Errorf("a cancelled transaction left %q", got)
		}
		if err := s.SaveSetting(cancelled, "name", "fourth", false); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled before: %v", err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a panic of the work was swallowed")
				}
			}()
			_ = s.Transact(ctx, func(tx broker.Tx) error {
				check(t, tx.SaveSetting(ctx, "name", "fifth", false))
				panic("a defect")
			})
		}()
		if got, _ := s.Setting(ctx, "name"); got != "second" {
			t.Errorf("a panicked transaction left %q", got)
		}
	})
}

func TestTransactionsThatFailTakeNothingOfOthersWithThem(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		cluster, node := place(t, s)
		var group sync.WaitGroup
		for number := range 200 {
			group.Go(func() {
				err := s.Transact(t.Context(), func(tx broker.Tx) error {
					vm := newVM(cluster.ID, node.ID)
					if err := tx.InsertVM(t.Context(), vm); err != nil {
						return err
					}
					if number%2 == 0 {
						return broker.Errorf(broker.Conflict, "thought better of it")
					}
					return nil
				})
				if failed := broker.Is(err, broker.Conflict); failed != (number%2 == 0) {
					t.Errorf("transaction %d: %v", number, err)
				}
			})
		}
		group.Wait()
		if count, err := s.CountVMs(t.Context(), broker.VMFilter{}); err != nil || count != 100 {
			t.Errorf("%d machines, want 100 (%v)", count, err)
		}
	})
}

func TestDeadlocksAreRepeated(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		cluster, node := place(t, s)
		first, second := addVM(t, s, cluster.ID, node.ID), addVM(t, s, cluster.ID, node.ID)
		var group sync.WaitGroup
		for number := range 40 {
			group.Go(func() {
				order := []int64{first.ID, second.ID}
				if number%2 == 0 {
					order = []int64{second.ID, first.ID}
				}
				check(t, s.Transact(t.Context(), func(tx broker.Tx) error {
					for _, id := range order {
						vm, err := tx.LockVM(t.Context(), id)
						if err != nil {
							return err
						}
						vm.ImageID++
						if err := tx.UpdateVM(t.Context(), vm); err != nil {
							return err
						}
					}
					return nil
				}))
			})
		}
		group.Wait()
		for _, id := range []int64{first.ID, second.ID} {
			if vm, err := s.FindVM(t.Context(), id); err != nil || vm.ImageID != 40 {
				t.Errorf("counted %d of 40 (%v)", vm.ImageID, err)
			}
		}
	})
}
