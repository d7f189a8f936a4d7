package store_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"gantry/internal/secrets"
	"gantry/server/broker"
	"gantry/server/store"
)

func TestSecretsMoveToTheNewKey(t *testing.T) {
	key := func(letter string) string {
		return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, 32)))
	}
	for name, dsn := range databases {
		t.Run(name, func(t *testing.T) {
			d := dsn(t)
			with := func(keys string) *store.Store {
				ring, err := secrets.Open("", keys)
				check(t, err)
				s, err := store.Open(t.Context(), store.Config{DSN: d, Secrets: ring})
				check(t, err)
				return s
			}
			old := with(key("a"))
			cluster, node := place(t, old)
			node.SSHPassword, node.Daemon.Secret = "ssh-secret", "daemon-secret"
			check(t, old.UpdateNode(t.Context(), node))
			check(t, old.SaveSetting(t.Context(), "signing", "secret setting", true))
			check(t, old.SaveSetting(t.Context(), "plain", "open setting", false))
			var machines []*broker.VM
			for number := range 450 { // more than one transaction takes
				vm := newVM(cluster.ID, node.ID)
				vm.Password, vm.PendingPassword = fmt.Sprintf("password-%d", number), fmt.Sprintf("pending-%d", number)
				vm.ConsolePassword = fmt.Sprintf("console-%d", number)
				check(t, old.InsertVM(t.Context(), vm))
				check(t, old.UpdateVM(t.Context(), vm))
				machines = append(machines, vm)
			}
			reencrypt(t, old, false)
			check(t, old.Close())

			both := with(key("b") + "," + key("a"))
			reencrypt(t, both, true)
			before := both.Statements()
			reencrypt(t, both, false)
			if again := both.Statements() - before; again != 1 {
				t.Errorf("with the same key again: %d statements, want 1", again)
			}
			check(t, both.Close())

			fresh := with(key("b"))
			defer fresh.Close()
			found, err := fresh.FindNode(t.Context(), node.ID)
			if err != nil || found.SSHPassword != "ssh-secret" || found.Daemon.Secret != "daemon-secret" {
				t.Errorf("node: %+v, %v", found, err)
			}
			if found, err := fresh.FindCluster(t.Context(), cluster.ID); err != nil || found.Options["tokenSecret"] != cluster.Options["tokenSecret"] {
				t.Errorf("cluster: %+v, %v", found, err)
			}
			for name, want := range map[string]string{"signing": "secret setting", "plain": "open setting"} {
				if got, err := fresh.Setting(t.Context(), name); err != nil || got != want {
					t.Errorf("setting %s: %q, %v", name, got, err)
				}
			}
			for _, vm := range machines {
				found, err := fresh.FindVM(t.Context(), vm.ID)
				if err != nil || found.Password != vm.Password || found.PendingPassword != vm.PendingPassword || found.ConsolePassword != vm.ConsolePassword {
					t.Fatalf("machine %d: %+v, %v", vm.ID, found, err)
				}
			}
		})
	}
}

func reencrypt(t *testing.T, s *store.Store, wanted bool) {
	t.Helper()
	if changed, err := s.Reencrypt(t.Context()); err != nil || changed != wanted {
		t.Errorf("changed: %t, %v; want %t", changed, err, wanted)
	}
}
