// Package libvirthost starts a libvirtd of its own on a machine that may have another one: in a mount namespace where private folders lie
// over libvirt's own, so that nothing of the machine's is read or changed. It needs root and Debian's libvirt-daemon-system.
package libvirthost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const (
	// Pool is the storage pool that a host has, of type dir at PoolFolder.
	Pool       = "default"
	PoolFolder = "/var/lib/libvirt/images"
	// Socket is where libvirtd listens, as processes of the mount namespace reach it.
	Socket = "/run/libvirt/libvirt-sock"

	daemon       = "/usr/sbin/libvirtd"
	runFolder    = "/run/libvirt"
	filterFolder = "/etc/libvirt/nwfilter"
	poolFile     = "/etc/libvirt/storage/" + Pool + ".xml"
)

// privateFolders of libvirt get folders of their own mounted over them; what is in runFolder ends with the daemon.
var privateFolders = []string{"/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt", runFolder}

// configuration files of the host. QEMU runs as root without confinement: namespaces, control groups and security drivers need what a
// container does not have.
var configuration = map[string]string{
	"/etc/libvirt/libvirtd.conf": "listen_tcp = 0\nauth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\n" +
		"host_uuid_source = \"machine-id\"\nmax_client_requests = 8\n",
	"/etc/libvirt/qemu.conf": "user = \"root\"\ngroup = \"root\"\nsecurity_driver = \"none\"\ncgroup_controllers = []\nnamespaces = []\n" +
		"stdio_handler = \"file\"\nremember_owner = 0\n",
}

// Components tells which program is missing, nil for none.
func Components() error {
	for _, program := range []string{daemon, filterFolder} {
		if _, err := os.Stat(program); err != nil {
			return fmt.Errorf("%s is missing (Debian packages libvirt-daemon-system and libvirt-daemon-config-nwfilter)", program)
		}
	}
	return nil
}

// PrivateMounts keeps what is mounted from now on in the present mount namespace to it.
func PrivateMounts() error {
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	return nil
}

// BindFolders mounts folders of folder over libvirt's own and fills in what is missing there: configuration, the filters that came with
// libvirt, a storage pool. more is added to libvirtd's configuration.
func BindFolders(folder, more string) error {
	texts, err := shippedFilters()
	if err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(folder, runFolder)); err != nil {
		return fmt.Errorf("clear %s: %w", runFolder, err)
	}
	for _, private := range privateFolders {
		source := filepath.Join(folder, private)
		if err := errors.Join(os.MkdirAll(source, 0o755), os.MkdirAll(private, 0o755)); err != nil {
			return err
		}
		if err := syscall.Mount(source, private, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount over %s: %w", private, err)
		}
	}
	for path, text := range configuration {
		texts[path] = text
	}
	texts["/etc/libvirt/libvirtd.conf"] += more
	texts[poolFile] = "<pool type='dir'><name>" + Pool + "</name><target><path>" + PoolFolder + "</path></target></pool>\n"
	for path, text := range texts {
		if err := writeMissing(path, text); err != nil {
			return err
		}
	}
	for _, each := range []string{"/etc/libvirt/storage/autostart", "/var/log/libvirt/qemu", "/var/lib/libvirt/dnsmasq", PoolFolder} {
		if err := os.MkdirAll(each, 0o755); err != nil {
			return err
		}
	}
	if err := os.Symlink(poolFile, "/etc/libvirt/storage/autostart/"+Pool+".xml"); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// shippedFilters are read before anything is mounted over them.
func shippedFilters() (map[string]string, error) {
	filters, err := os.ReadDir(filterFolder)
	if err != nil {
		return nil, err
	}
	texts := map[string]string{}
	for _, entry := range filters {
		path := filepath.Join(filterFolder, entry.Name())
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		texts[path] = string(text)
	}
	return texts, nil
}

// writeMissing leaves alone what an earlier libvirtd has written: it adds identities to definitions.
func writeMissing(path, text string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}

// HideKVM makes guests emulated, for machines whose /dev/kvm is there and does not work. libvirt asks QEMU anew for all it can do before
// every guest while access(2) says that /dev/kvm could be written to, so what is mounted over it is a file that not even root can write
// to. The file is made in folder.
func HideKVM(folder string) error {
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return nil
	}
	empty := filepath.Join(folder, "kvm")
	if err := os.WriteFile(empty, nil, 0o400); err != nil {
		return err
	}
	if err := syscall.Mount(empty, "/dev/kvm", "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("hide /dev/kvm: %w", err)
	}
	if err := syscall.Mount("", "/dev/kvm", "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("hide /dev/kvm: %w", err)
	}
	return nil
}
