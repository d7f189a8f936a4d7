package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"gantry/internal/secrets"
	"gantry/server"
	"gantry/server/account"
	"gantry/server/store"
)

// maxPasswordBytes bounds what is read from standard input.
const maxPasswordBytes = 4096

// adminCommand works on the server's database, whether the server runs or not. It takes the server's settings.
type adminCommand struct {
	Settings settingsFlags `embed:""`

	ResetPassword adminResetPassword `cmd:"" help:"Give an admin a new password and end all of the admin's sessions."`
	ShowAdminPath adminShowAdminPath `cmd:"" help:"Show the secret path of the panel."`
	RotateKeys    adminRotateKeys    `cmd:"" help:"Make a new key that credentials are encrypted with from the server's next start on."`
}

// settings are the server's, by its own name: GANTRY_SERVER_…, server.yaml.
func (c adminCommand) settings(p *process) (server.Config, error) {
	settings, err := loadSettings(p, "server", c.Settings, server.DefaultConfig())
	if err != nil {
		return server.Config{}, err
	}
	if settings.Database.DSN == "" || settings.SecretKey == "" {
		if err := checkDataDir(settings); err != nil {
			return server.Config{}, fmt.Errorf("data_dir: %w", err)
		}
	}
	return settings, nil
}

// checkDataDir keeps a wrong path from getting a fresh key and database, whose answers would be those of an empty
// installation, and another user from leaving files there that the server can't open.
func checkDataDir(settings server.Config) error {
	info, err := os.Stat(settings.DataDir)
	if err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user id %d: run this as that user", settings.DataDir, owner.Uid)
	}
	if settings.SecretKey != "" {
		return nil
	}
	if _, err := os.Stat(settings.KeyFile()); err != nil {
		return fmt.Errorf("%w: the server has not run with these settings yet", err)
	}
	return nil
}

// withStore opens the database for one piece of work.
func (c adminCommand) withStore(p *process, work func(ctx context.Context, settings server.Config, database *store.Store) error) error {
	settings, err := c.settings(p)
	if err != nil {
		return err
	}
	keys, err := secrets.Open(settings.KeyFile(), settings.SecretKey)
	if err != nil {
		return err
	}
	database, err := store.Open(p.ctx, store.Config{DSN: settings.DSN(), Secrets: keys})
	if err != nil {
		return err
	}
	return errors.Join(work(p.ctx, settings, database), database.Close())
}

type adminResetPassword struct {
	Username      string `arg:"" optional:"" default:"admin" help:"The admin's name (${default})."`
	PasswordStdin bool   `help:"Read the password from standard input instead of making one up."`
}

// Run prints the password that it made up.
func (c *adminResetPassword) Run(p *process, line *commandLine) error {
	password := rand.Text()
	if c.PasswordStdin {
		text, err := io.ReadAll(io.LimitReader(os.Stdin, maxPasswordBytes))
		if err != nil {
			return fmt.Errorf("read the password: %w", err)
		}
		password = strings.TrimRight(string(text), "\r\n")
	}
	err := line.Admin.withStore(p, func(ctx context.Context, _ server.Config, database *store.Store) error {
		accounts, err := account.New(ctx, account.Config{Store: database})
		if err != nil {
			return err
		}
		return accounts.SetPassword(ctx, c.Username, password)
	})
	if err != nil || c.PasswordStdin {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "new password of %s: %s\n", c.Username, password)
	return err
}

type adminShowAdminPath struct{}

// Run prints the path as it stands in a URL.
func (adminShowAdminPath) Run(p *process, line *commandLine) error {
	return line.Admin.withStore(p, func(ctx context.Context, settings server.Config, database *store.Store) error {
		path, err := account.AdminPath(ctx, database, settings.AdminPath)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.stdout, "/%s/\n", path)
		return err
	})
}

type adminRotateKeys struct{}

// Run leaves the database alone: old keys stay in the file and decrypt what they encrypted.
func (adminRotateKeys) Run(p *process, line *commandLine) error {
	settings, err := line.Admin.settings(p)
	if err != nil {
		return err
	}
	keys, err := secrets.Open(settings.KeyFile(), settings.SecretKey)
	if err != nil {
		return err
	}
	if err := keys.Rotate(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s has a new key; restart the server\n", settings.KeyFile())
	return err
}
