package firstlight

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"
	"libvirt.org/go/libvirtxml"
)

// host is a demo's hypervisor, looked at from behind.
type host interface {
	// serialLog is where QEMU writes what a guest prints on its serial port.
	serialLog(vmid int) string
	// serialPort is what the guest reads from.
	serialPort(t *testing.T, vmid int) io.WriteCloser
	// disks are the volumes of guests, and left is all that guests leave: definitions, volumes, filters.
	disks(t *testing.T) []string
	left(t *testing.T) []string
}

var hosts = map[string]func(dataDir string) host{
	"pve":     func(dataDir string) host { return labHost{filepath.Join(dataDir, "lab", "nodes", "pve1")} },
	"libvirt": func(dataDir string) host { return libvirtHost{filepath.Join(dataDir, "libvirt")} },
}

// shortFolder is a temporary folder whose name leaves room for the names of sockets.
func shortFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "gantry-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

func list(t *testing.T, parts ...string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// labHost is a node of the lab.
type labHost struct{ folder string }

func (h labHost) serialLog(vmid int) string {
	return filepath.Join(h.folder, "run", fmt.Sprint(vmid), "serial.log")
}

func (h labHost) serialPort(t *testing.T, vmid int) io.WriteCloser {
	t.Helper()
	port, err := net.Dial("unix", filepath.Join(h.folder, "run", fmt.Sprint(vmid), "serial.sock"))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func (h labHost) disks(t *testing.T) []string {
	return list(t, h.folder, "storage", "*", "images", "*", "vm-*-disk-*")
}

func (h labHost) left(t *testing.T) []string {
	return append(list(t, h.folder, "storage", "*", "images", "*", "*"), list(t, h.folder, "qemu-server", "*.conf")...)
}

// libvirtHost is a libvirtd that the demo started.
type libvirtHost struct{ folder string }

func (h libvirtHost) serialLog(vmid int) string {
	return filepath.Join(h.folder, "var", "log", "libvirt", "qemu", fmt.Sprintf("gantry-%d-serial.log", vmid))
}

func (h libvirtHost) serialPort(t *testing.T, vmid int) io.WriteCloser {
	t.Helper()
	socket := filepath.Join(h.folder, "run", "libvirt", "libvirt-sock")
	connection := golibvirt.NewWithDialer(dialers.NewLocal(dialers.WithSocket(socket), dialers.WithLocalTimeout(5*time.Second)))
	if err := connection.ConnectToURI(golibvirt.QEMUSystem); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Disconnect() }()
	domain, err := connection.DomainLookupByName(fmt.Sprintf("gantry-%d", vmid))
	if err != nil {
		t.Fatal(err)
	}
	text, err := connection.DomainGetXMLDesc(domain, 0)
	if err != nil {
		t.Fatal(err)
	}
	var definition libvirtxml.Domain
	if err := definition.Unmarshal(text); err != nil {
		t.Fatal(err)
	}
	port, err := os.OpenFile(definition.Devices.Serials[0].Source.Pty.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// guestVolume is a volume's name that is no image's.
var guestVolume = regexp.MustCompile(`^gantry-[0-9]`)

func (h libvirtHost) volumes(t *testing.T, suffix string) (found []string) {
	for _, path := range list(t, h.folder, "var", "lib", "libvirt", "images", "*"+suffix) {
		if guestVolume.MatchString(filepath.Base(path)) {
			found = append(found, path)
		}
	}
	return found
}

func (h libvirtHost) disks(t *testing.T) []string { return h.volumes(t, ".qcow2") }

func (h libvirtHost) left(t *testing.T) []string {
	left := append(h.volumes(t, ""), list(t, h.folder, "etc", "libvirt", "qemu", "*.xml")...)
	left = append(left, list(t, h.folder, "run", "libvirt", "nwfilter-binding", "*.xml")...)
	left = append(left, list(t, h.folder, "run", "libvirt", "qemu", "*.xml")...)
	rules, err := exec.Command("ebtables", "-t", "nat", "-L").CombinedOutput()
	if err != nil || strings.Contains(string(rules), "vnet") {
		left = append(left, fmt.Sprintf("filter rules: %v: %s", err, rules))
	}
	return left
}
