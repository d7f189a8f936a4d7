package controlled

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	wire "gantry/internal/controlledclient"
	"gantry/internal/tlspin"
)

// updateOrder is update.json: what the guard of an update has to know, and how it went.
type updateOrder struct {
	wire.Update
	Executable string        `json:"executable"`
	Command    []string      `json:"command"` // the daemon's own argv
	URL        string        `json:"url"`     // where the daemon answers
	PID        int           `json:"pid"`     // of the daemon, which it keeps
	Patience   time.Duration `json:"patience"`
	// Supervised: systemd starts the daemon again when it ends.
	Supervised bool `json:"supervised"`
}

// systemdMark is set by systemd for everything that it starts (systemd.exec(5)).
const systemdMark = "INVOCATION_ID"

// guard starts the old program as the guard of the new one, apart from the daemon.
func (u *updates) guard(state wire.Update) error {
	order := updateOrder{
		Update: state, Executable: u.config.Executable, Command: os.Args, URL: u.url, PID: os.Getpid(), Patience: u.config.UpdatePatience,
		Supervised: os.Getenv(systemdMark) != "",
	}
	if err := writeJSONAtomically(filepath.Join(u.config.DataDir, updateFile), order); err != nil {
		return err
	}
	argv := append([]string{u.config.Executable + previousSuffix}, u.config.GuardArguments...)
	command := exec.Command(argv[0], append(argv[1:], u.config.DataDir)...)
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	command.Dir = "/"
	if err := command.Start(); err != nil {
		return err
	}
	return command.Process.Release()
}

// GuardUpdate watches over an update of the daemon with that data directory: when the new program does not answer as the release that it
// should be, the old one comes back. It is the body of the hidden subcommand "controlled guard-update DIR", which the daemon starts from
// the old program, and returns the exit status.
func GuardUpdate(dataDir string) int {
	if err := guardUpdate(dataDir); err != nil {
		fmt.Fprintln(os.Stderr, "gantry controlled guard-update:", err)
		return 1
	}
	return 0
}

func guardUpdate(dataDir string) error {
	path := filepath.Join(dataDir, updateFile)
	var order updateOrder
	if err := readJSON(path, &order); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	err := awaitRelease(dataDir, order)
	if err == nil {
		order.State = wire.UpdateDone
		return writeJSONAtomically(path, order)
	}
	order.State, order.Error = wire.UpdateRolledBack, err.Error()
	if err := os.Rename(order.Executable+previousSuffix, order.Executable); err != nil {
		return fmt.Errorf("put the old program back: %w", err)
	}
	if err := syncDir(filepath.Dir(order.Executable)); err != nil {
		return err
	}
	if err := writeJSONAtomically(path, order); err != nil {
		return err
	}
	endProgram(order)
	if order.Supervised {
		return nil
	}
	return syscall.Exec(order.Executable, order.Command, os.Environ())
}

// awaitRelease returns nil once the daemon answers as the release.
func awaitRelease(dataDir string, order updateOrder) error {
	secret, err := Secret(dataDir)
	if err != nil {
		return err
	}
	_, pin, err := tlspin.Certificate(dataDir)
	if err != nil {
		return err
	}
	client, err := wire.New(order.URL, secret, pin)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), order.Patience)
	defer cancel()
	last := "it did not answer"
	for {
		version, err := client.Version(ctx)
		switch {
		case err == nil && version == order.Version:
			return nil
		case err == nil:
			last = "it answers as " + version
		case ctx.Err() == nil:
			last = err.Error()
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("release %s did not come up within %s: %s", order.Version, order.Patience, last)
		}
	}
}

// endProgram ends the new program, if it still runs under the daemon's process id: that is then a file which is no longer in its place.
func endProgram(order updateOrder) {
	running := func() bool {
		program, err := os.Readlink("/proc/" + strconv.Itoa(order.PID) + "/exe")
		return err == nil && strings.TrimSuffix(program, " (deleted)") == order.Executable
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if !running() || syscall.Kill(order.PID, signal) != nil {
			return
		}
		for deadline := time.Now().Add(shutdownTimeout); running() && time.Now().Before(deadline); {
			time.Sleep(50 * time.Millisecond)
		}
	}
}
