package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"gantry/server/account"
	"gantry/server/broker"
)

// firstLoginFile tells the operator once how to get in, mode 0600 in DataDir.
const firstLoginFile = "first-login.json"

// FirstLogin is what the file holds.
type FirstLogin struct {
	AdminPath string `json:"adminPath"`
	Username  string `json:"username"`
	Password  string `json:"password"`
}

// firstLogin makes the first admin at the very first start. The password goes into a file that only the operator can read, never
// into the log.
func (s *running) firstLogin(ctx context.Context, adminPath string) error {
	username, password, created, err := s.accounts.EnsureFirstAdmin(ctx)
	if err != nil || !created {
		return err
	}
	text, err := json.Marshal(FirstLogin{AdminPath: adminPath, Username: username, Password: password})
	if err != nil {
		return fmt.Errorf("write the first login: %w", err)
	}
	file := filepath.Join(s.config.DataDir, firstLoginFile)
	if err := os.WriteFile(file, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the first login: %w", err)
	}
	s.log.Warn("first start: log in with what this file says, change the password, then delete the file", "file", file)
	return nil
}

// registerProxy makes the console proxy of the settings known. Its secret is stored as a hash.
func (s *running) registerProxy(ctx context.Context) error {
	proxy := s.config.Console.Proxy
	if proxy.Secret == "" {
		return nil
	}
	return s.store.Transact(ctx, func(tx broker.Tx) error {
		node, err := tx.FindConsoleNodeByName(ctx, proxy.Name)
		if broker.Is(err, broker.NotFound) {
			return tx.InsertConsoleNode(ctx, &broker.ConsoleNode{
				Name: proxy.Name, URL: proxy.URL, Secret: account.HashConsoleSecret(proxy.Secret), CreatedAt: time.Now().UTC(),
			})
		}
		if err != nil {
			return err
		}
		node.URL, node.Secret = proxy.URL, account.HashConsoleSecret(proxy.Secret)
		return tx.UpdateConsoleNode(ctx, node)
	})
}

// lockDataDir keeps a second server from working under the same name: this one takes back the tasks of the one that died. The
// kernel lets go of the lock with the process.
func lockDataDir(dataDir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dataDir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data_dir: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock data_dir: another server uses %s: %w", dataDir, err), lock.Close())
	}
	return lock, nil
}

// instanceName names this server in leases. It is kept in DataDir, so that a server that was killed takes its tasks up again at
// once after its restart and need not wait for its own leases to run out.
func instanceName(dataDir string) (string, error) {
	file := filepath.Join(dataDir, "instance")
	text, err := os.ReadFile(file)
	if name := strings.TrimSpace(string(text)); err == nil && name != "" {
		return name, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the instance's name: %w", err)
	}
	name := rand.Text()
	if err := os.WriteFile(file, []byte(name+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write the instance's name: %w", err)
	}
	return name, nil
}
