package memory_test

import (
	"io"
	"net"
	"testing"

	"gantry/server/broker"
	"gantry/server/hypervisor"
	"gantry/server/hypervisor/hypertest"
	"gantry/server/hypervisor/memory"
)

const checksum = "sha256:0000000000000000000000000000000000000000000000000000000000000001"

func cluster() *memory.Cluster {
	return memory.New(memory.Config{
		Nodes:   []memory.Node{{Name: "node1"}, {Name: "node2"}},
		Images:  map[string]int64{"debian-12.qcow2": 2 << 30},
		Sources: map[string]memory.Source{"https://images.example.org/alma-9.qcow2": {SizeBytes: 4 << 30, Checksum: checksum}},
	})
}

func subject(c *memory.Cluster) hypertest.Subject {
	methods := map[hypervisor.OperationKind]string{
		hypervisor.OperationCreate: "CreateGuest", hypervisor.OperationDelete: "DeleteGuest", hypervisor.OperationStart: "Power",
		hypervisor.OperationResize: "ResizeDisk", hypervisor.OperationConfig: "Configure",
	}
	inject := func(kind hypervisor.OperationKind, id int, fault memory.Fault) {
		fault.Method, fault.Guest, fault.Times = methods[kind], id, 1
		c.Inject(fault)
	}
	broken := func(t *testing.T, err error) hypervisor.Driver {
		other := cluster()
		other.Inject(memory.Fault{Effect: memory.Refuse, Err: err})
		return other.Open()
	}
	return hypertest.Subject{
		Open: func(*testing.T) hypervisor.Driver { return c.Open() },
		Node: "node1", Storage: "data", Bridge: "vmbr0", Image: "debian-12.qcow2",
		Source: &hypertest.Source{
			URL: "https://images.example.org/alma-9.qcow2", Checksum: checksum, FileName: "alma-9.qcow2", WrongChecksum: checksum[:len(checksum)-1] + "2",
		},
		Inspect: func(t *testing.T, id int) hypervisor.GuestSpec {
			spec, found := c.Spec(id)
			if !found {
				t.Fatalf("no guest %d", id)
			}
			return spec
		},
		Volumes: func(_ *testing.T, id int) []string {
			var out []string
			for name, guest := range c.Volumes() {
				if guest == id {
					out = append(out, name)
				}
			}
			return out
		},
		Changes: func(*testing.T) int { return c.Changes() },
		Refresh: func(*testing.T) {},
		Foreign: func(t *testing.T) hypervisor.GuestRef {
			ref := hypervisor.GuestRef{ID: 777, Node: "node1"}
			if err := c.AddGuest(hypervisor.GuestSpec{
				Ref: ref, Name: "web", Sockets: 1, Cores: 1, MemoryMB: 128, Disks: []hypervisor.DiskSpec{{Key: "scsi0", Storage: "data", SizeBytes: 1 << 30}},
				NICs: []hypervisor.NICSpec{{MAC: "02:00:00:00:00:01", Bridge: "vmbr0"}},
			}); err != nil {
				t.Fatal(err)
			}
			return ref
		},
		Dial: func(t *testing.T, target hypervisor.ConsoleTarget) []byte {
			connection, err := net.Dial(target.Network, target.Address)
			if err != nil {
				t.Fatal(err)
			}
			defer connection.Close()
			first := make([]byte, 12)
			if _, err := io.ReadFull(connection, first); err != nil {
				t.Fatal(err)
			}
			return first
		},
		Lock: func(t *testing.T, id int, word string) {
			if err := c.SetLock(id, word); err != nil {
				t.Fatal(err)
			}
		},
		Migrate: func(t *testing.T, id int) string {
			if err := c.Migrate(id, "node2"); err != nil {
				t.Fatal(err)
			}
			return "node2"
		},
		OpenBadCredential: func(t *testing.T) hypervisor.Driver {
			return broken(t, broker.Errorf(broker.HypervisorAuth, "the credential was refused"))
		},
		OpenUnreachable: func(t *testing.T) hypervisor.Driver { return broken(t, memory.Unreachable()) },
		Faults: hypertest.Faults{
			LoseReply: func(_ *testing.T, kind hypervisor.OperationKind, id int) {
				inject(kind, id, memory.Fault{Effect: memory.LoseReply})
			},
			FailOperation: func(_ *testing.T, kind hypervisor.OperationKind, id int, text string) {
				inject(kind, id, memory.Fault{Effect: memory.FailOperation, Err: broker.Errorf(broker.Failed, "%s", text)})
			},
			Warn: func(_ *testing.T, kind hypervisor.OperationKind, id int, text string) {
				inject(kind, id, memory.Fault{Effect: memory.Warn, Warnings: []string{text}})
			},
			LockTimeout: func(_ *testing.T, kind hypervisor.OperationKind, id int) {
				inject(kind, id, memory.Fault{Effect: memory.Refuse, Err: memory.Locked()})
			},
			Hang: func(*testing.T) func() { return c.Inject(memory.Fault{Effect: memory.Hang}) },
		},
		StaleCreate: func(t *testing.T, d hypervisor.Driver, spec hypervisor.GuestSpec) hypervisor.Operation {
			c.SetManual(true)
			operation, err := d.CreateGuest(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			for _, online := range []bool{false, true} {
				if err := c.SetNodeOnline(spec.Ref.Node, online); err != nil {
					t.Fatal(err)
				}
			}
			c.SetManual(false)
			return operation
		},
	}
}

func TestConformance(t *testing.T) {
	hypertest.Run(t, subject(cluster()))
}

// A driver that can do little passes the same suite: what it can't do answers Unsupported.
func TestConformanceWithoutCapabilities(t *testing.T) {
	c := memory.New(memory.Config{Capabilities: &hypervisor.Capabilities{}, ForbidUnlock: true})
	poor := subject(c)
	poor.Image, poor.Source, poor.Migrate = "", nil, nil
	hypertest.Run(t, poor)
}
