package libvirt

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"

	"gantry/internal/libvirttest"
	"gantry/internal/qemutest"
	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// cutter stands between a driver and libvirtd and cuts the connection at a call, before it is passed on or before its answer is.
type cutter struct {
	socket    string
	procedure atomic.Uint32
	after     atomic.Bool
	cuts      atomic.Int32
}

func newCutter(t *testing.T) *cutter {
	t.Helper()
	c := &cutter{socket: filepath.Join(t.TempDir(), "s")}
	listener, err := net.Listen("unix", c.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", host.Socket)
			if err != nil {
				_ = near.Close()
				return
			}
			go c.pass(near, far, false)
			go c.pass(far, near, true)
		}
	}()
	return c
}

// pass hands packets on until the one that is to be cut at.
func (c *cutter) pass(from, to net.Conn, answers bool) {
	defer from.Close()
	defer to.Close()
	framed := newFrameConn(from)
	for {
		head := make([]byte, smallestPacket)
		if _, err := io.ReadFull(framed, head); err != nil {
			return
		}
		body := make([]byte, int(head[0])<<24|int(head[1])<<16|int(head[2])<<8|int(head[3])-smallestPacket)
		if _, err := io.ReadFull(framed, body); err != nil {
			return
		}
		procedure := uint32(head[12])<<24 | uint32(head[13])<<16 | uint32(head[14])<<8 | uint32(head[15])
		if procedure == c.procedure.Load() && answers == c.after.Load() && c.procedure.CompareAndSwap(procedure, 0) {
			c.cuts.Add(1)
			return
		}
		if _, err := to.Write(append(head, body...)); err != nil {
			return
		}
	}
}

func (c *cutter) arm(procedure uint32, after bool) {
	c.after.Store(after)
	c.procedure.Store(procedure)
}

// Procedures of src/remote/remote_protocol.x.
const (
	procDefine      = 350
	procSetMetadata = 264
	procVolCreate   = 93
)

// Whatever call the connection is lost at, in either direction: a create ends whole or leaves nothing, or leaves what its own operation
// is the proof for.
func TestCreateSurvivesLostConnections(t *testing.T) {
	plain := open(t, local(), "")
	t.Cleanup(func() { _ = plain.Close() })
	id := 8000
	for _, procedure := range []uint32{procDefine, procSetMetadata, procVolCreate, procUpload} {
		for _, after := range []bool{false, true} {
			id++
			cut := newCutter(t)
			d := open(t, map[string]string{"transport": "unix", "socket": cut.socket}, "")
			t.Cleanup(func() { _ = d.Close() })
			spec := small(t, d, id)
			spec.CloudInit, spec.CloudInitStorage = &hypervisor.CloudInit{User: "admin"}, libvirttest.Pool
			before := time.Now()
			cut.arm(procedure, after)
			operation, err := d.CreateGuest(t.Context(), spec)
			if err != nil {
				if kind := broker.KindOf(err); kind != broker.UnknownOutcome && kind != broker.Unreachable {
					t.Errorf("procedure %d, after %t: %v", procedure, after, err)
				}
				if found, err := plain.FindOperation(t.Context(), spec.Ref, hypervisor.OperationCreate, before); err == nil {
					// Defined, and the answer was lost: nobody builds it, so it is for clearing.
					clearStale(t, plain, spec.Ref, found)
				} else if !broker.Is(err, broker.NotFound) {
					t.Error(err)
				}
			} else {
				failed := outcome(t, d, operation)
				guest, err := plain.FindGuest(t.Context(), spec.Ref)
				switch {
				case failed == nil && (err != nil || guest.Incomplete):
					t.Errorf("procedure %d, after %t: done, and the guest is %+v, %v", procedure, after, guest, err)
				case failed == nil:
					remove(t, plain, spec.Ref)
				case failed != nil && err == nil && guest.Incomplete:
					clearStale(t, d, spec.Ref, operation)
				case failed != nil && err == nil:
					remove(t, plain, spec.Ref) // the last answer was lost: looking tells that it is whole
				}
			}
			if cut.cuts.Load() != 1 {
				t.Errorf("procedure %d, after %t: cut %d times", procedure, after, cut.cuts.Load())
			}
			if _, err := plain.FindGuest(t.Context(), spec.Ref); !broker.Is(err, broker.NotFound) {
				t.Errorf("procedure %d, after %t: the guest stays: %v", procedure, after, err)
			}
			if left := guestVolumes(t, plain, id); len(left) != 0 {
				t.Errorf("procedure %d, after %t: volumes stay: %v", procedure, after, left)
			}
		}
	}
}

func clearStale(t *testing.T, d *driver, ref hypervisor.GuestRef, proof hypervisor.Operation) {
	t.Helper()
	// Its runner is this very process, which lives: a real one would be dead.
	g, err := d.load(t.Context(), ref.ID)
	if err != nil {
		t.Fatal(err)
	}
	kill(t, d, g, proof.ID)
	operation, err := d.ClearStaleCreate(t.Context(), ref, proof)
	await(t, d, operation, err)
}

// kill makes an operation one of a process that is dead.
func kill(t *testing.T, d *driver, g *guest, id string) {
	t.Helper()
	noted := g.record.operation(id)
	if noted == nil {
		t.Fatalf("guest %d has no operation %s", g.id, id)
	}
	if noted.Runner == "" {
		return
	}
	noted.Runner = machineName() + "/" + "4194305/1" // above the largest process id
	if err := d.put(t.Context(), g); err != nil {
		t.Fatal(err)
	}
}

// staleCreate leaves what a create leaves whose process was killed in the middle.
func staleCreate(t *testing.T, d *driver, spec hypervisor.GuestSpec) hypervisor.Operation {
	t.Helper()
	facts, err := d.facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	machine, err := facts.machine.choose(spec.Arch, spec.KVM)
	if err != nil {
		t.Fatal(err)
	}
	id := newOperationID(hypervisor.OperationCreate, spec.Ref.ID, time.Now())
	g, err := d.take(t.Context(), spec, machine, id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.makeDisk(t.Context(), g, spec.Disks[0]); err != nil {
		t.Fatal(err)
	}
	kill(t, d, g, id.text)
	return hypervisor.Operation{ID: id.text, Node: facts.name}
}

// An operation of a process that died is told from one that another process is at, and a guest on which one is at work is left alone.
func TestOperationsOfOtherProcesses(t *testing.T) {
	d := open(t, local(), "")
	t.Cleanup(func() { _ = d.Close() })
	spec := small(t, d, 8100)
	operation, err := d.CreateGuest(t.Context(), spec)
	await(t, d, operation, err)
	t.Cleanup(func() { remove(t, d, spec.Ref) })
	g, err := d.load(t.Context(), spec.Ref.ID)
	if err != nil {
		t.Fatal(err)
	}
	for name, fact := range map[string]struct {
		runner  string
		until   time.Time
		running bool
	}{
		"this process":                    {thisRunner(), time.Now().Add(time.Minute), true},
		"a dead process":                  {machineName() + "/4194305/1", time.Now().Add(time.Minute), false},
		"another machine":                 {"elsewhere/1/1", time.Now().Add(time.Minute), true},
		"another machine, long ago":       {"elsewhere/1/1", time.Now().Add(-time.Minute), false},
		"a process that took a dead's id": {machineName() + "/1/1", time.Now().Add(time.Minute), false},
	} {
		t.Run(name, func(t *testing.T) {
			id := newOperationID(hypervisor.OperationResize, spec.Ref.ID, time.Now())
			g.record.note(recordOperation{ID: id.text, Runner: fact.runner, Until: fact.until.Unix()})
			if err := d.put(t.Context(), g); err != nil {
				t.Fatal(err)
			}
			state, err := d.OperationState(t.Context(), hypervisor.Operation{ID: id.text})
			if err != nil || state.Finished == fact.running || (state.Err == nil) != fact.running {
				t.Errorf("state is %+v, %v", state, err)
			}
			began, err := d.Configure(t.Context(), spec.Ref, hypervisor.GuestChange{MemoryMB: new(256)})
			if fact.running {
				if !broker.Is(err, broker.Locked) {
					t.Errorf("configure: %v", err)
				}
				return
			}
			await(t, d, began, err)
			if g, err = d.load(t.Context(), spec.Ref.ID); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A driver that is closed in the middle of a fetch leaves a partial image, which is no image; the next fetch removes it.
func TestFetchIsTakenUpAgain(t *testing.T) {
	content := append(libvirttest.BootSector(), make([]byte, 4<<20)...)
	begun := make(chan struct{})
	var once sync.Once
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(content[:1<<20])
		w.(http.Flusher).Flush()
		once.Do(func() { close(begun) })
		<-r.Context().Done()
	}))
	defer slow.Close()
	first := open(t, local(), "")
	image := hypervisor.ImageFetch{FileName: "again.img", URL: slow.URL + "/again.img", Checksum: sumOf(content)}
	operation, err := first.FetchImage(t.Context(), node(t, first), image)
	if err != nil {
		t.Fatal(err)
	}
	<-begun
	second := open(t, local(), "")
	t.Cleanup(func() { _ = second.Close() })
	qemutest.Eventually(t, time.Minute, "the upload to begin", func() bool { return len(partial(t, second, "again.img")) == 1 })
	if _, err := second.FindImage(t.Context(), node(t, second), "again.img"); !broker.Is(err, broker.NotFound) {
		t.Errorf("a partial image is found: %v", err)
	}
	if _, err := second.OperationState(t.Context(), operation); !broker.Is(err, broker.NotFound) {
		t.Errorf("state of another process's fetch: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	image.URL = serve(t, map[string][]byte{"again.img": content}) + "again.img"
	again, err := second.FetchImage(t.Context(), node(t, second), image)
	await(t, second, again, err)
	if left := partial(t, second, "again.img"); len(left) != 0 {
		t.Errorf("partial images stay: %v", left)
	}
	found, err := second.FindImage(t.Context(), node(t, second), "again.img")
	if err != nil {
		t.Fatal(err)
	}
	third := open(t, local(), "")
	t.Cleanup(func() { _ = third.Close() })
	if state, err := third.OperationState(t.Context(), again); err != nil || !state.Finished || state.Err != nil {
		t.Errorf("a finished fetch is %+v, %v to another process", state, err)
	}
	if operation, err := third.FindOperation(t.Context(), hypervisor.GuestRef{}, hypervisor.OperationFetch, time.Now().Add(-time.Minute)); err != nil || operation.ID != again.ID {
		t.Errorf("found %+v, %v, want %s", operation, err, again.ID)
	}
	if err := third.DeleteImage(t.Context(), node(t, third), found.Volume); err != nil {
		t.Error(err)
	}
}

func partial(t *testing.T, d *driver, file string) []string {
	t.Helper()
	pool, err := d.imagePool(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	images, err := d.images(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, image := range images {
		if image.file == file && image.format == "" {
			out = append(out, image.volume.Name)
		}
	}
	return out
}

// An image that disks stand on is not deleted, and what others keep in the pool never is.
func TestNothingInUseOrForeignIsDeleted(t *testing.T) {
	d := open(t, local(), "")
	t.Cleanup(func() { _ = d.Close() })
	volume := fetchBootImage(t, d)
	spec := small(t, d, 8200)
	spec.Disks[0].SizeBytes, spec.Disks[0].ImportFrom = 0, volume
	operation, err := d.CreateGuest(t.Context(), spec)
	await(t, d, operation, err)
	t.Cleanup(func() { remove(t, d, spec.Ref) })
	if err := d.DeleteImage(t.Context(), node(t, d), volume); !broker.Is(err, broker.Conflict) {
		t.Errorf("delete an image in use: %v", err)
	}
	host.Run(t, "virsh", "vol-create-as", libvirttest.Pool, "gantry-8200-somebody-else.qcow2", "1M", "--format", "qcow2")
	t.Cleanup(func() { host.Run(t, "virsh", "vol-delete", "gantry-8200-somebody-else.qcow2", libvirttest.Pool) })
	if err := d.DeleteVolume(t.Context(), spec.Ref, libvirttest.Pool+":gantry-8200-somebody-else.qcow2"); err != nil {
		t.Error(err)
	}
	if err := d.DeleteImage(t.Context(), node(t, d), libvirttest.Pool+":gantry-8200-somebody-else.qcow2"); !broker.Is(err, broker.Invalid) {
		t.Errorf("delete what is no image: %v", err)
	}
	operation, err = d.DeleteGuest(t.Context(), spec.Ref)
	await(t, d, operation, err)
	if left := guestVolumes(t, d, 8200); len(left) != 1 {
		t.Errorf("volumes are %v, want only the foreign one", left)
	}
}

// A shutdown that still waits is overruled by a stop.
func TestStopOverrulesShutdown(t *testing.T) {
	d := open(t, local(), "")
	t.Cleanup(func() { _ = d.Close() })
	spec := small(t, d, 8300) // nothing in it answers the button
	operation, err := d.CreateGuest(t.Context(), spec)
	await(t, d, operation, err)
	t.Cleanup(func() { remove(t, d, spec.Ref) })
	press := func(action hypervisor.PowerAction, options hypervisor.PowerOptions) hypervisor.Operation {
		t.Helper()
		operation, err := d.Power(t.Context(), spec.Ref, action, options)
		if err != nil {
			t.Fatal(err)
		}
		return operation
	}
	await(t, d, press(hypervisor.Start, hypervisor.PowerOptions{}), nil)
	waiting := press(hypervisor.Shutdown, hypervisor.PowerOptions{})
	if _, err := d.ResizeDisk(t.Context(), spec.Ref, hypervisor.SystemDisk, 2<<30); !broker.Is(err, broker.Locked) {
		t.Errorf("resize beside a shutdown: %v", err)
	}
	await(t, d, press(hypervisor.Stop, hypervisor.PowerOptions{}), nil)
	if err := outcome(t, d, waiting); !broker.Is(err, broker.Failed) {
		t.Errorf("the shutdown ended with %v", err)
	}
	await(t, d, press(hypervisor.Start, hypervisor.PowerOptions{}), nil)
	if err := outcome(t, d, press(hypervisor.Shutdown, hypervisor.PowerOptions{Timeout: 10 * time.Millisecond})); !broker.Is(err, broker.Failed) {
		t.Errorf("a guest that does not answer: %v", err)
	}
	await(t, d, press(hypervisor.Shutdown, hypervisor.PowerOptions{Timeout: 10 * time.Millisecond, Force: true}), nil)
	if guest, err := d.FindGuest(t.Context(), spec.Ref); err != nil || guest.Power != hypervisor.PowerStopped {
		t.Errorf("guest is %+v, %v", guest, err)
	}
}

// Domains that others made have ids of their own, are found by them, and are not touched without their UUID.
func TestForeignDomains(t *testing.T) {
	d := open(t, local(), "")
	t.Cleanup(func() { _ = d.Close() })
	made, err := ask(t.Context(), d.client, func(l *rpc) (golibvirt.Domain, error) {
		return l.DomainDefineXML("<domain type='qemu'><name>somebody's</name><memory>65536</memory><os><type>hvm</type></os></domain>")
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = change(context.Background(), d.client, func(l *rpc) error { return l.DomainUndefineFlags(made, 0) })
	})
	id := foreignID(made.UUID)
	inventory, err := d.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	listed := false
	for _, guest := range inventory.Guests {
		listed = listed || guest.ID == id && guest.Name == "somebody's" && guest.Power == hypervisor.PowerStopped
	}
	if !listed {
		t.Errorf("%d is not in %+v", id, inventory.Guests)
	}
	guest, err := d.FindGuest(t.Context(), hypervisor.GuestRef{ID: id})
	if err != nil || guest.Owner != ownerOf(made) || guest.Name != "somebody's" {
		t.Errorf("guest is %+v, %v", guest, err)
	}
	stranger := hypervisor.GuestRef{ID: id, Owner: "00000000-0000-4000-8000-000000000000"}
	var refused *broker.Error
	if _, err := d.DeleteGuest(t.Context(), stranger); !errors.As(err, &refused) || refused.Reason != broker.ReasonForeignGuest {
		t.Errorf("delete: %v", err)
	}
	spec := small(t, d, 8400)
	spec.Ref.ID = id
	if _, err := d.CreateGuest(t.Context(), spec); !broker.Is(err, broker.Invalid) || !strings.Contains(err.Error(), "id") {
		t.Errorf("create with a foreign id: %v", err)
	}
}
