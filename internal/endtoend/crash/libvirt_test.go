package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"gantry/internal/libvirttest"
	"gantry/server/broker"
	"gantry/server/task"
)

// installOnLibvirt is a broker with a real libvirtd and real guests, the smallest that answer a power button.
func installOnLibvirt(t *testing.T, onMariaDB bool) *installation {
	t.Helper()
	host, err := libvirttest.Start()
	check(t, err)
	t.Cleanup(func() { check(t, host.Stop()) })
	i := newInstallation(t)
	i.api, i.content, i.libvirt = "/api/v1/libvirt", libvirttest.BootSector(), host
	if onMariaDB {
		i.dsn = mariadb.Database(t)
	}
	i.defineForeign(t)
	i.startServer(t)
	i.openStore(t)
	i.logIn(t)
	i.addNode(t, "", map[string]any{
		"nodeType": "libvirt", "options": map[string]any{"transport": "unix", "socket": host.Socket, "localDownloads": true},
	}, map[string]any{
		"memory": 32, "storage": libvirttest.Pool, "systemDiskSize": 1, "dataDisk": map[string]int{"1": 1}, "bridge": libvirttest.Bridge,
	})
	return i
}

// defineForeign makes somebody else's domain under a name that our orders come to.
func (i *installation) defineForeign(t *testing.T) {
	t.Helper()
	file := filepath.Join("/var/lib/libvirt", "foreign.xml")
	text := fmt.Sprintf("<domain type='qemu'><name>gantry-%d</name><memory>32768</memory><os><type>hvm</type></os></domain>", foreignGuest)
	check(t, os.WriteFile(i.libvirt.Path(file), []byte(text), 0o600))
	i.libvirt.Run(t, "virsh", "define", file)
}

// domains reads the definition of each domain, live.
func (i *installation) domains(t *testing.T) map[int]guest {
	t.Helper()
	all := map[int]guest{}
	running := strings.Fields(i.libvirt.Run(t, "virsh", "list", "--name", "--state-running"))
	for _, name := range strings.Fields(i.libvirt.Run(t, "virsh", "list", "--all", "--name")) {
		var domain libvirtxml.Domain
		check(t, domain.Unmarshal(i.libvirt.Run(t, "virsh", "dumpxml", name)))
		var vmid int
		if _, err := fmt.Sscanf(name, "gantry-%d", &vmid); err != nil {
			t.Errorf("domain %s is nobody's", name)
			continue
		}
		found := guest{owner: domain.UUID, running: slices.Contains(running, name), volumes: map[string]string{}}
		if domain.Devices != nil {
			for _, disk := range domain.Devices.Disks {
				if disk.Source == nil || disk.Source.File == nil {
					continue
				}
				key := "ide2"
				if disk.Device == "disk" && disk.Address != nil && disk.Address.Drive != nil && disk.Address.Drive.Unit != nil {
					key = fmt.Sprintf("scsi%d", *disk.Address.Drive.Unit)
				}
				found.volumes[key] = libvirttest.Pool + ":" + filepath.Base(disk.Source.File.File)
			}
		}
		all[vmid] = found
	}
	return all
}

// poolVolumes lists the files of the pool that are no images.
func (i *installation) poolVolumes(t *testing.T) (found []string) {
	t.Helper()
	entries, err := os.ReadDir(i.libvirt.Path(libvirttest.PoolFolder))
	check(t, err)
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "gantry-image-") {
			found = append(found, libvirttest.Pool+":"+entry.Name())
		}
	}
	return found
}

// onLibvirt are the orders that make, change and remove most; the others' workflows have the same steps.
var onLibvirt = []string{"create", "reinstall", "delete"}

// The broker is killed at each border of each step, and started again on the same data: each order is done at the end, and no machine,
// volume or address is lost or there twice.
func TestServerIsKilledAtEachBorderOnLibvirt(t *testing.T) {
	for name, onMariaDB := range map[string]bool{"SQLite": false, "MariaDB": true} {
		t.Run(name, func(t *testing.T) {
			i := installOnLibvirt(t, onMariaDB)
			i.eachBorderOnLibvirt(t, func() {
				i.server.kill(t)
				i.server.start(t)
			})
		})
	}
}

// libvirtd is killed at each border instead. Guests that run go on.
func TestLibvirtdIsKilledAtEachBorder(t *testing.T) {
	i := installOnLibvirt(t, false)
	i.eachBorderOnLibvirt(t, func() { i.libvirt.Restart(t) })
}

func (i *installation) eachBorderOnLibvirt(t *testing.T, die func()) {
	for _, each := range orders {
		if !slices.Contains(onLibvirt, each.name) {
			continue
		}
		t.Run(each.name, func(t *testing.T) {
			ended, places := i.carryOutOnLibvirt(t, each, undisturbed)
			if ended.State != broker.TaskDone {
				t.Fatalf("without a disturbance the task is %s: %s", ended.State, ended.Error)
			}
			i.coversAllSteps(t, each.kind, places, false)
			for number, death := range places {
				if death.Moment == task.AfterCommit && number+1 < len(places) {
					continue // nothing happens between it and the next step's beginning
				}
				t.Run(death.String(), func(t *testing.T) {
					disturb, died := onceAt(death, func(k knock) {
						die()
						k.letGo() // a broker that was killed does not hear it
					})
					ended, _ := i.carryOutOnLibvirt(t, each, disturb)
					if !*died || ended.State != broker.TaskDone {
						t.Errorf("killed: %t; the task is %s: %s", *died, ended.State, ended.Error)
					}
				})
			}
		})
	}
}

func (i *installation) carryOutOnLibvirt(t *testing.T, each order, disturb disturbance) (*broker.Task, []place) {
	t.Helper()
	i.serverReady(t)
	if each.prepare != nil {
		each.prepare(i, t)
	}
	each.place(i, t)
	ended, places := i.follow(t, disturb)
	i.verify(t)
	if t.Failed() {
		i.tell(t, ended)
	}
	return ended, places
}

// An order that the host can't start is undone, also when the broker is killed at each border of taking it back.
func TestServerIsKilledWhileItUndoesOnLibvirt(t *testing.T) {
	i := installOnLibvirt(t, false)
	i.ordered["memory"] = 16 << 20 // 16 TiB: more than any machine of these tests has
	create := orders[slices.IndexFunc(orders, func(each order) bool { return each.name == "create" })]
	ended, places := i.carryOutOnLibvirt(t, create, undisturbed)
	if ended.State != broker.TaskUndone {
		t.Fatalf("without a disturbance the task is %s: %s", ended.State, ended.Error)
	}
	for _, death := range places {
		if !death.Undo || death.Moment == task.AfterCommit {
			continue // the way there is tried by the orders that end well
		}
		t.Run(death.String(), func(t *testing.T) {
			disturb, died := onceAt(death, func(knock) {
				i.server.kill(t)
				i.server.start(t)
			})
			if ended, _ := i.carryOutOnLibvirt(t, create, disturb); !*died || ended.State != broker.TaskUndone {
				t.Errorf("killed: %t; the task is %s: %s", *died, ended.State, ended.Error)
			}
		})
	}
}
