package demo

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// stateFile keeps what must be the same at the next start: ports (the broker stores the lab's address) and secrets. Mode 0600.
const stateFile = "demo.json"

func (d *demo) statePath() string { return filepath.Join(d.config.DataDir, stateFile) }

// load reads the kept state, or makes it at the first start.
func (d *demo) load() error {
	text, err := os.ReadFile(d.statePath())
	if err == nil {
		if err := json.Unmarshal(text, &d.kept); err != nil {
			return fmt.Errorf("read %s: %w", d.statePath(), err)
		}
		if made := firstOf(string(d.kept.Hypervisor), string(PVE)); made != string(d.config.Hypervisor) {
			return fmt.Errorf("%s holds a demo on %s: give another folder for one on %s", d.config.DataDir, made, d.config.Hypervisor)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the demo's state: %w", err)
	}
	if err := d.choosePorts(); err != nil {
		return err
	}
	d.kept.Hypervisor = d.config.Hypervisor
	d.kept.LabControlToken, d.kept.ProxySecret = rand.Text(), rand.Text()
	if d.kept.Network, d.kept.Bridge, err = chooseNetwork(d.config.DataDir); err != nil {
		return err
	}
	return d.save()
}

func (d *demo) save() error {
	text, err := json.MarshalIndent(d.kept, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.statePath()+".new", text, 0o600); err != nil {
		return fmt.Errorf("keep the demo's state: %w", err)
	}
	return os.Rename(d.statePath()+".new", d.statePath())
}

// choosePorts takes the port that was asked for and free ones for the rest.
func (d *demo) choosePorts() error {
	_, port, err := net.SplitHostPort(d.config.Listen)
	if err != nil {
		return fmt.Errorf("--listen %q must be address:port", d.config.Listen)
	}
	if d.kept.ServerPort, err = strconv.Atoi(port); err != nil {
		return fmt.Errorf("--listen %q must be address:port", d.config.Listen)
	}
	wanted := []*int{&d.kept.LabPort, &d.kept.LabControlPort, &d.kept.VNCProxyPort, &d.kept.ControlledPort}
	if d.kept.ServerPort == 0 {
		wanted = append(wanted, &d.kept.ServerPort)
	}
	var listeners []net.Listener
	defer func() {
		for _, listener := range listeners {
			_ = listener.Close()
		}
	}()
	for _, free := range wanted {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("find a free port: %w", err)
		}
		listeners = append(listeners, listener)
		*free = listener.Addr().(*net.TCPAddr).Port
	}
	return nil
}

func fileChecksum(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}
