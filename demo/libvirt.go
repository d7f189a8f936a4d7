package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"
	"libvirt.org/go/libvirtxml"

	"gantry/internal/libvirthost"
	"gantry/lab/machine/qemu"
)

// The demo on libvirt uses the machine's own libvirtd. Where none runs it starts one with folders of its own, which ends with the demo:
// for that the whole demo runs once more, in a mount namespace where those folders lie over libvirt's.

// needsOwnLibvirtd tells whether a libvirtd has to be started; an error where that can't be done.
func needsOwnLibvirtd(wanted bool) (bool, error) {
	if !wanted && libvirthost.Answers(libvirthost.Socket) {
		return false, nil
	}
	if os.Geteuid() != 0 {
		return false, errors.New("no libvirtd answers at " + libvirthost.Socket + ": start it, or run the demo as root, which then starts one of its own")
	}
	return true, libvirthost.Components()
}

// runInside runs the demo again in a mount namespace and ends with it.
func runInside(ctx context.Context, config Config) error {
	command := exec.Command("/proc/self/exe", append(config.Arguments, "--inside")...)
	command.Stdout, command.Stderr = config.Stdout, config.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	ended := make(chan error, 1)
	begun := make(chan error, 1)
	go func() {
		// The kernel's death signal comes when the thread ends that started the process (prctl(2)).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		begun <- err
		if err == nil {
			ended <- command.Wait()
		}
	}()
	if err := <-begun; err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	_ = command.Process.Signal(syscall.SIGTERM) // it may have ended just now
	return <-ended
}

// ownLibvirtd is a libvirtd that the demo started.
type ownLibvirtd struct {
	command *exec.Cmd
	orders  io.Closer
	ended   chan struct{}
}

// startLibvirtd binds the private folders and starts libvirtd in a process namespace of its own: guests end with it.
func (d *demo) startLibvirtd() error {
	folder := d.folder("libvirt")
	if err := errors.Join(os.MkdirAll(folder, 0o755), libvirthost.PrivateMounts()); err != nil {
		return err
	}
	if err := libvirthost.BindFolders(folder, ""); err != nil {
		return err
	}
	if !qemu.KVMWorks("qemu-system-x86_64") {
		if err := libvirthost.HideKVM(folder); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(filepath.Join(d.folder("logs"), "libvirtd.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	own := &ownLibvirtd{command: exec.Command(d.config.Executable, "demo-libvirtd"), ended: make(chan struct{})}
	own.command.Stdout, own.command.Stderr = log, log
	own.command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Setpgid: true}
	// With the pipe's end it ends, however the demo ends.
	if own.orders, err = own.command.StdinPipe(); err != nil {
		return err
	}
	if err := own.command.Start(); err != nil {
		return fmt.Errorf("start libvirtd: %w", err)
	}
	go func() {
		_ = own.command.Wait() // stopping it is what ends it
		close(own.ended)
	}()
	d.libvirtd = own
	return nil
}

func (o *ownLibvirtd) stop() {
	_ = o.orders.Close()
	select {
	case <-o.ended:
	case <-time.After(stopPatience):
		_ = o.command.Process.Kill()
		<-o.ended
	}
}

// ServeLibvirtd is the process that startLibvirtd starts.
func ServeLibvirtd(orders io.Reader, said io.Writer) error {
	return libvirthost.Serve(orders, said, nil)
}

// withLibvirt calls do with a connection to libvirtd.
func withLibvirt(do func(*golibvirt.Libvirt) error) (err error) {
	connection := golibvirt.NewWithDialer(dialers.NewLocal(dialers.WithSocket(libvirthost.Socket), dialers.WithLocalTimeout(5*time.Second)))
	if err := connection.ConnectToURI(golibvirt.QEMUSystem); err != nil {
		return fmt.Errorf("connect to libvirtd: %w", err)
	}
	defer func() { _ = connection.Disconnect() }()
	return do(connection)
}

// libvirtReady is for children.until.
func libvirtReady(context.Context) error {
	return withLibvirt(func(l *golibvirt.Libvirt) error {
		_, err := l.ConnectGetLibVersion()
		return err
	})
}

// openLibvirtNetwork makes a network that is gone when it is stopped: the machine's own address in it is the guests' gateway, and nothing is
// routed or masqueraded.
func (d *demo) openLibvirtNetwork(ctx context.Context) error {
	if d.libvirtd != nil {
		// The bridge of a demo that was killed: its libvirtd died with it.
		if err := qemu.RemoveBridge(ctx, d.kept.Bridge); err != nil {
			return err
		}
	}
	gateway, err := d.gatewayCIDR()
	if err != nil {
		return err
	}
	address, length, _ := strings.Cut(gateway, "/")
	network := libvirtxml.Network{
		Name: d.kept.Bridge, Bridge: &libvirtxml.NetworkBridge{Name: d.kept.Bridge, STP: "off", Delay: "0"},
		Forward: &libvirtxml.NetworkForward{Mode: "open"}, DNS: &libvirtxml.NetworkDNS{Enable: "no"},
		IPs: []libvirtxml.NetworkIP{{Address: address, Prefix: prefixLength(length)}},
	}
	text, err := network.Marshal()
	if err != nil {
		return err
	}
	return withLibvirt(func(l *golibvirt.Libvirt) error {
		if _, err := l.NetworkLookupByName(d.kept.Bridge); err == nil {
			return nil // a demo that was killed left it
		}
		if _, err := l.NetworkCreateXML(text); err != nil {
			return fmt.Errorf("make libvirt's network %s: %w", d.kept.Bridge, err)
		}
		return nil
	})
}

func prefixLength(text string) (length uint) {
	_, _ = fmt.Sscanf(text, "%d", &length) // it was made from a prefix
	return length
}

// closeLibvirtNetwork stops the guests that hang on the demo's network, and the network.
func (d *demo) closeLibvirtNetwork() error {
	return withLibvirt(func(l *golibvirt.Libvirt) error {
		domains, _, err := l.ConnectListAllDomains(1, golibvirt.ConnectListDomainsActive)
		if err != nil {
			return err
		}
		for _, domain := range domains {
			text, err := l.DomainGetXMLDesc(domain, 0)
			var definition libvirtxml.Domain
			if err != nil || definition.Unmarshal(text) != nil || !onNetwork(&definition, d.kept.Bridge) {
				continue
			}
			_ = l.DomainDestroy(domain) // it may have gone off by itself
		}
		network, err := l.NetworkLookupByName(d.kept.Bridge)
		if err != nil {
			return nil // it is gone
		}
		return l.NetworkDestroy(network)
	})
}

func onNetwork(definition *libvirtxml.Domain, name string) bool {
	if definition.Devices == nil {
		return false
	}
	for _, nic := range definition.Devices.Interfaces {
		if nic.Source != nil && nic.Source.Network != nil && nic.Source.Network.Network == name {
			return true
		}
	}
	return false
}
