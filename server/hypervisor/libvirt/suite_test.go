package libvirt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"

	"gantry/internal/libvirttest"
	"gantry/internal/qemutest"
	"gantry/server/broker"
	"gantry/server/hypervisor"
	"gantry/server/hypervisor/hypertest"
)

var host *libvirttest.Host

func TestMain(m *testing.M) { os.Exit(libvirttest.Main(m, &host)) }

// local are the options of the test's own libvirtd over its unix socket.
func local() map[string]string {
	return map[string]string{"transport": "unix", "socket": host.Socket, "localDownloads": "true"}
}

func open(t *testing.T, given map[string]string, pin string) *driver {
	t.Helper()
	opened, err := Open(hypervisor.Settings{Options: given, TLSPin: pin})
	if err != nil {
		t.Fatal(err)
	}
	d := opened.(*driver)
	if given["transport"] == overUnix {
		d.client.transport = seenFromHere{d.client.transport}
	}
	return d
}

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// serve offers files for download.
func serve(t *testing.T, files map[string][]byte) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, found := files[strings.TrimPrefix(r.URL.Path, "/")]
		if !found {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}))
	t.Cleanup(server.Close)
	return server.URL + "/"
}

// await waits for an operation that must end well.
func await(t *testing.T, d *driver, operation hypervisor.Operation, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if failed := outcome(t, d, operation); failed != nil {
		t.Fatalf("%s: %v", operation.ID, failed)
	}
}

func outcome(t *testing.T, d *driver, operation hypervisor.Operation) error {
	t.Helper()
	var state hypervisor.OperationState
	qemutest.Eventually(t, time.Minute, operation.ID+" to end", func() bool {
		var err error
		if state, err = d.OperationState(t.Context(), operation); err != nil {
			t.Fatal(err)
		}
		return state.Finished
	})
	return state.Err
}

const bootImage = "boot.raw"

// fetchBootImage puts the boot sector on the host.
func fetchBootImage(t *testing.T, d *driver) string {
	t.Helper()
	content := libvirttest.BootSector()
	operation, err := d.FetchImage(t.Context(), node(t, d), hypervisor.ImageFetch{
		FileName: bootImage, URL: serve(t, map[string][]byte{bootImage: content}) + bootImage, Checksum: sumOf(content),
	})
	await(t, d, operation, err)
	image, err := d.FindImage(t.Context(), node(t, d), bootImage)
	if err != nil {
		t.Fatal(err)
	}
	return image.Volume
}

func node(t *testing.T, d *driver) string {
	t.Helper()
	facts, err := d.facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return facts.name
}

func inspect(t *testing.T, d *driver, id int) hypervisor.GuestSpec {
	t.Helper()
	g, err := d.load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	out := hypervisor.GuestSpec{
		Ref: hypervisor.GuestRef{ID: id, Owner: g.owner()}, Name: g.config.Title, Description: g.config.Description, KVM: g.config.Type == "qemu",
		CPUType: map[string]string{"maximum": g.record.CPU}[g.config.CPU.Mode], MemoryMB: int(memoryBytes(g) >> 20), ACPI: g.config.Features.ACPI != nil, GuestAgent: hasAgent(&g.config),
		Limits: limitsOf(&g.config), OSFamily: map[string]string{"utc": "linux", "localtime": "windows"}[g.config.Clock.Offset],
	}
	out.Sockets, out.Cores = topology(&g.config)
	if int(g.config.VCPU.Value) != out.Sockets*out.Cores {
		t.Errorf("guest %d has %d processors in %d sockets of %d cores", id, g.config.VCPU.Value, out.Sockets, out.Cores)
	}
	autostart, err := d.client.current.rpc.DomainGetAutostart(g.domain)
	if err != nil {
		t.Fatal(err)
	}
	out.OnBoot = autostart == 1
	for _, each := range g.disks() {
		volume, err := d.volumeOf(t.Context(), g, each.path)
		if err != nil {
			t.Fatal(err)
		}
		size, err := d.diskSize(t.Context(), g, each)
		if err != nil {
			t.Fatal(err)
		}
		pool, _, _ := strings.Cut(volume, ":")
		spec := hypervisor.DiskSpec{Key: each.key, Storage: pool, SizeBytes: size, IO: hypervisor.UnlimitedIO()}
		if tune := g.config.Devices.Disks[each.index].IOTune; tune != nil {
			for from, into := range map[*uint64]*int64{
				&tune.ReadBytesSec: &spec.IO.ReadMBps, &tune.ReadBytesSecMax: &spec.IO.ReadMBpsMax, &tune.WriteBytesSec: &spec.IO.WriteMBps, &tune.WriteBytesSecMax: &spec.IO.WriteMBpsMax,
			} {
				if *from > 0 {
					*into = int64(*from >> 20)
				}
			}
			for from, into := range map[*uint64]*int64{
				&tune.ReadIopsSec: &spec.IO.ReadIOPS, &tune.ReadIopsSecMax: &spec.IO.ReadIOPSMax, &tune.WriteIopsSec: &spec.IO.WriteIOPS, &tune.WriteIopsSecMax: &spec.IO.WriteIOPSMax,
			} {
				if *from > 0 {
					*into = int64(*from)
				}
			}
		}
		out.Disks = append(out.Disks, spec)
	}
	for _, nic := range g.config.Devices.Interfaces {
		spec := hypervisor.NICSpec{MAC: nic.MAC.Address, Bridge: nic.Source.Bridge.Bridge, RateMbps: broker.Unlimited}
		if nic.Bandwidth != nil {
			spec.RateMbps = int64(*nic.Bandwidth.Inbound.Average) / 125
		}
		out.NICs = append(out.NICs, spec)
	}
	data, _, ours, err := d.currentSeed(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	if ours {
		out.CloudInit = &hypervisor.CloudInit{User: data.User, SSHKeys: data.SSHKeys, Addresses: data.Addresses, Nameserver: data.Nameserver}
	}
	return out
}

// guestVolumes lists a guest's disk volumes as libvirt has them.
func guestVolumes(t *testing.T, d *driver, id int) []string {
	t.Helper()
	if _, err := d.version(t.Context()); err != nil {
		t.Fatal(err)
	}
	pools, err := d.pools(t.Context(), golibvirt.ConnectListStoragePoolsActive)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, pool := range pools {
		volumes, err := d.volumes(t.Context(), pool)
		if err != nil {
			t.Fatal(err)
		}
		for _, volume := range volumes {
			if strings.HasPrefix(volume.Name, fmt.Sprintf("gantry-%d-", id)) && !strings.HasSuffix(volume.Name, ".iso") {
				out = append(out, pool.Name+":"+volume.Name)
			}
		}
	}
	return out
}

// booted waits until a guest has said that it is up.
func booted(t *testing.T, id, times int) {
	t.Helper()
	log := host.Path(serialLog(id))
	qemutest.Eventually(t, time.Minute, fmt.Sprintf("guest %d to come up", id), func() bool {
		text, err := os.ReadFile(log)
		return err == nil && strings.Count(string(text), strings.TrimSpace(libvirttest.Ready)) >= times
	})
}

// seenFromHere reaches the sockets of the test's host: its files are in a mount namespace of their own.
type seenFromHere struct{ transport }

func (s seenFromHere) dialSocket(ctx context.Context, path string) (net.Conn, error) {
	return s.transport.dialSocket(ctx, host.Path(path))
}

func subject(t *testing.T, given map[string]string, pin string) hypertest.Subject {
	d := open(t, given, pin)
	t.Cleanup(func() { _ = d.Close() })
	volume := fetchBootImage(t, d)
	second := append(libvirttest.BootSector(), 1, 2, 3)
	second = append(second, make([]byte, 4096-len(second)%4096)...)
	return hypertest.Subject{
		Open: func(t *testing.T) hypervisor.Driver { return open(t, given, pin) },
		Node: node(t, d), Storage: libvirttest.Pool, Bridge: libvirttest.Bridge, Image: bootImage,
		Source: &hypertest.Source{
			URL: serve(t, map[string][]byte{"second.img": second}) + "second.img", FileName: "second.img", Checksum: sumOf(second), WrongChecksum: sumOf(nil),
		},
		Inspect: func(t *testing.T, id int) hypervisor.GuestSpec { return inspect(t, d, id) },
		Volumes: func(t *testing.T, id int) []string { return guestVolumes(t, d, id) },
		Refresh: func(*testing.T) {},
		Foreign: func(t *testing.T) hypervisor.GuestRef { return foreign(t, d) },
		Startable: func(_ *testing.T, _ hypervisor.Driver, spec *hypervisor.GuestSpec) {
			spec.Disks[0].SizeBytes, spec.Disks[0].ImportFrom = 0, volume
			spec.Limits.CPUPercent, spec.NICs[0].RateMbps = broker.Unlimited, broker.Unlimited
		},
		Booted: booted,
		OpenUnreachable: func(t *testing.T) hypervisor.Driver {
			return open(t, map[string]string{"transport": "unix", "socket": host.Socket + ".none"}, "")
		},
		StaleCreate: func(t *testing.T, _ hypervisor.Driver, spec hypervisor.GuestSpec) hypervisor.Operation {
			return staleCreate(t, d, spec)
		},
		Faults: hypertest.Faults{Hang: func(t *testing.T) func() { return sync.OnceFunc(host.Pause(t)) }},
	}
}

func TestConformance(t *testing.T) {
	hypertest.Run(t, subject(t, local(), ""))
}

// small is an order for a guest with an empty disk.
func small(t *testing.T, d *driver, id int) hypervisor.GuestSpec {
	t.Helper()
	return hypervisor.GuestSpec{
		Ref:  hypervisor.GuestRef{ID: id, Node: node(t, d), Owner: uuid.NewString()},
		Name: fmt.Sprintf("guest-%d", id), Sockets: 1, Cores: 1, MemoryMB: 128, KVM: true, ACPI: true, OSFamily: "linux",
		Limits: hypervisor.Limits{CPUPercent: broker.Unlimited},
		Disks:  []hypervisor.DiskSpec{{Key: hypervisor.SystemDisk, Storage: libvirttest.Pool, SizeBytes: 1 << 30, IO: hypervisor.UnlimitedIO()}},
		NICs:   []hypervisor.NICSpec{{MAC: fmt.Sprintf("02:00:00:01:%02x:%02x", byte(id>>8), byte(id)), Bridge: libvirttest.Bridge, RateMbps: broker.Unlimited}},
	}
}

// remove takes a guest away after a test, whatever its state.
func remove(t *testing.T, d *driver, ref hypervisor.GuestRef) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	g, err := d.load(ctx, ref.ID)
	if err != nil {
		return
	}
	if powerOf(g.state) != hypervisor.PowerStopped {
		_, _ = d.stop(ctx, g, nil)
	}
	if err := d.erase(ctx, g); err != nil {
		t.Errorf("guest %d stays: %v", ref.ID, err)
	}
}
