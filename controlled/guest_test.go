package controlled

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestChangePassword(t *testing.T) {
	for name, row := range map[string]struct {
		vmid           int64
		user, password string
		want           string
	}{
		"linux":             {110, "root", "qwe@123", ""},
		"windows":           {110, "Administrator", `a "b" $(c) 'd'`, ""},
		"other script":      {110, "root", "密码密码密码", ""},
		"short":             {110, "root", "1234", "refused invalid password"},
		"long":              {110, "root", strings.Repeat("x", 1025), "refused invalid password"},
		"two lines":         {110, "root", "secret\nsecret", "refused invalid password"},
		"option as user":    {110, "--crypted", "secret", "refused invalid username"},
		"shell in user":     {110, "root;id", "secret", "refused invalid username"},
		"agent not running": {vmidFails, "root", "secret", "refused failed"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t).start()
			err := n.client.ChangePassword(context.Background(), row.vmid, row.user, row.password)
			if kindOf(err) != row.want {
				t.Fatalf("got %v", err)
			}
			if err != nil && strings.Contains(err.Error(), row.password) {
				t.Errorf("the error tells the password: %v", err)
			}
			for _, call := range n.calls() {
				if strings.Contains(call, row.password) {
					t.Errorf("the password is an argument: %s", call)
				}
			}
			if row.want != "" {
				return
			}
			got, err := os.ReadFile(filepath.Join(n.qmDir, "passwd"))
			if want := strings.Join([]string{"110", row.user, row.password, row.password}, "|"); err != nil || string(got) != want {
				t.Errorf("qm got %q, %v", got, err)
			}
		})
	}
}

func TestUnlock(t *testing.T) {
	n := newNode(t).start()
	if err := n.client.Unlock(context.Background(), 110); err != nil {
		t.Error(err)
	}
	err := n.client.Unlock(context.Background(), vmidFails)
	if kindOf(err) != "refused failed" || !strings.Contains(err.Error(), "113.conf' does not exist") {
		t.Errorf("got %v", err)
	}
	if err := n.client.Unlock(context.Background(), 1); kindOf(err) != "refused invalid vmid" {
		t.Errorf("got %v", err)
	}
	if calls := n.calls(); !slices.Equal(calls, []string{"unlock 110", "unlock 113"}) {
		t.Errorf("qm was called with %q", calls)
	}
}

func TestHangingCommandIsEnded(t *testing.T) {
	g := guests{qm: []string{"/bin/sleep"}, timeout: 50 * time.Millisecond}
	if err := g.run(context.Background(), "", "60"); err == nil || !strings.Contains(err.Error(), "did not end within") {
		t.Errorf("got %v", err)
	}
}

func TestLongOutputIsCut(t *testing.T) {
	g := guests{qm: []string{"/usr/bin/seq"}, timeout: time.Minute}
	err := g.run(context.Background(), "", "1", "100000", "x")
	if err == nil {
		t.Fatal("seq took three arguments")
	}
	var output lastBytes
	for range 1000 {
		if count, err := output.Write([]byte("0123456789")); count != 10 || err != nil {
			t.Fatal(count, err)
		}
	}
	if len(output) != maxLastBytes || !strings.HasSuffix(string(output), "56789") {
		t.Errorf("kept %d bytes", len(output))
	}
}
