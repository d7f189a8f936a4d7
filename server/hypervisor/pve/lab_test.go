package pve_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"gantry/internal/tlspin"
	"gantry/lab"
	"gantry/lab/access"
	"gantry/lab/fault"
	"gantry/lab/guestconf"
	"gantry/server/broker"
	"gantry/server/hypervisor"
	"gantry/server/hypervisor/hypertest"
	"gantry/server/hypervisor/pve"
)

// cluster is a lab of two nodes with an import image.
type cluster struct {
	*lab.Lab
	config lab.Config
	images *httptest.Server
	image  []byte
	// earlier are the requests from before restarts.
	earlier []fault.Request
}

// requests are all that reached the cluster.
func (c *cluster) requests() []fault.Request {
	return append(slices.Clone(c.earlier), c.Faults().Requests()...)
}

// image is a qcow2 header with a virtual size: all that guests in memory need.
func image(size uint64) []byte {
	out := make([]byte, 4096)
	copy(out, "QFI\xfb\x00\x00\x00\x03")
	binary.BigEndian.PutUint64(out[24:], size)
	return out
}

func start(t testing.TB, config lab.Config) *cluster {
	t.Helper()
	c := &cluster{config: config, image: image(2 << 30)}
	c.config.DataDir = t.TempDir()
	c.config.Nodes = []string{"pve1", "pve2"}
	c.config.TimeScale, c.config.UnauthorizedDelay, c.config.StatusInterval = 0.01, -1, -1
	// The suite starts guests right after their end and presses on; that PVE 9 answers "locked" for a while then is the caller's to wait out.
	c.config.NoCleanupLock = true
	c.open(t)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	c.images = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(c.image) // a client that went away is the test's to notice
	}))
	t.Cleanup(c.images.Close)
	folder, err := c.StorageFolder("pve1", "local", "import")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "debian-12.qcow2"), c.image, 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cluster) open(t testing.TB) {
	t.Helper()
	var err error
	if c.Lab, err = lab.Start(t.Context(), c.config); err != nil {
		t.Fatal(err)
	}
	c.config.Listen = strings.TrimPrefix(c.URL(), "https://") // where it is after a restart, too
}

// restart kills what runs on the nodes and starts them again.
func (c *cluster) restart(t testing.TB) {
	t.Helper()
	c.earlier = c.requests()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c.open(t)
}

func (c *cluster) pin() string {
	print := c.Fingerprint()
	return hex.EncodeToString(print[:])
}

func (c *cluster) options(t testing.TB) map[string]string {
	t.Helper()
	address, err := url.Parse(c.URL())
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"host": address.Hostname(), "port": address.Port()}
}

func (c *cluster) byToken(t testing.TB, id, secret string) hypervisor.Driver {
	t.Helper()
	options := c.options(t)
	options["tokenId"], options["tokenSecret"] = id, secret
	return open(t, hypervisor.Settings{Options: options, TLSPin: c.pin()})
}

func (c *cluster) byRootToken(t testing.TB) hypervisor.Driver {
	t.Helper()
	id, secret := c.RootToken()
	return c.byToken(t, id, secret)
}

func (c *cluster) byPassword(t testing.TB, password string) hypervisor.Driver {
	t.Helper()
	options := c.options(t)
	options["username"], options["password"] = "root", password
	return open(t, hypervisor.Settings{Options: options, TLSPin: c.pin()})
}

func open(t testing.TB, settings hypervisor.Settings) hypervisor.Driver {
	t.Helper()
	d, err := pve.Open(settings)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// calls of each kind of operation, for faults.
var calls = map[hypervisor.OperationKind]struct{ method, path, task string }{
	hypervisor.OperationCreate: {"POST", "/nodes/*/qemu", "qmcreate"},
	hypervisor.OperationDelete: {"DELETE", "/nodes/*/qemu/ID", "qmdestroy"},
	hypervisor.OperationStart:  {"POST", "/nodes/*/qemu/ID/status/start", "qmstart"},
	hypervisor.OperationResize: {"PUT", "/nodes/*/qemu/ID/resize", "resize"},
	hypervisor.OperationConfig: {"POST", "/nodes/*/qemu/ID/config", "qmconfig"},
}

func (c *cluster) subject(opener func(testing.TB) hypervisor.Driver) hypertest.Subject {
	sum := sha256.Sum256(c.image)
	taskFault := func(kind hypervisor.OperationKind, id int, rule fault.TaskRule) {
		rule.Type, rule.ID, rule.Times = calls[kind].task, strconv.Itoa(id), 1
		c.Faults().AddTask(rule)
	}
	requestFault := func(kind hypervisor.OperationKind, id int, rule fault.Rule) {
		rule.Method, rule.Path, rule.Times = calls[kind].method, strings.Replace(calls[kind].path, "ID", strconv.Itoa(id), 1), 1
		c.Faults().Add(rule)
	}
	return hypertest.Subject{
		Open: func(t *testing.T) hypervisor.Driver { return opener(t) },
		Node: "pve1", Storage: "data", Bridge: "vmbr0", Image: "debian-12.qcow2",
		Source: &hypertest.Source{
			URL: c.images.URL + "/alma-9.img", FileName: "alma-9.img",
			Checksum: "sha256:" + hex.EncodeToString(sum[:]), WrongChecksum: "sha256:" + strings.Repeat("0", 64),
		},
		Inspect: func(t *testing.T, id int) hypervisor.GuestSpec { return c.inspect(t, id) },
		Volumes: func(t *testing.T, id int) []string { return c.volumes(t, id) },
		Changes: func(*testing.T) int {
			return len(slices.DeleteFunc(c.requests(), func(each fault.Request) bool { return each.Method == "GET" }))
		},
		Refresh: func(*testing.T) { c.Faults().RefreshStatus() },
		Foreign: func(t *testing.T) hypervisor.GuestRef { return c.foreign(t, opener(t)) },
		Dial:    dialScreen,
		Lock: func(t *testing.T, id int, word string) {
			c.edit(t, id, func(conf *guestconf.Config) {
				if word == "" {
					delete(conf.Values, "lock")
					return
				}
				conf.Values["lock"] = word
			})
		},
		OpenBadCredential: func(t *testing.T) hypervisor.Driver {
			return c.byToken(t, "root@pam!lab", "00000000-0000-0000-0000-000000000000")
		},
		OpenUnreachable: func(t *testing.T) hypervisor.Driver { return unreachable(t) },
		Faults: hypertest.Faults{
			LoseReply: func(_ *testing.T, kind hypervisor.OperationKind, id int) {
				requestFault(kind, id, fault.Rule{LoseAfter: true})
			},
			FailOperation: func(_ *testing.T, kind hypervisor.OperationKind, id int, text string) {
				taskFault(kind, id, fault.TaskRule{Error: text})
			},
			Warn: func(_ *testing.T, kind hypervisor.OperationKind, id int, text string) {
				taskFault(kind, id, fault.TaskRule{Warnings: []string{text}})
			},
			LockTimeout: func(_ *testing.T, kind hypervisor.OperationKind, id int) {
				taskFault(kind, id, fault.TaskRule{Step: "lock", LockTimeout: true})
			},
			Hang: func(*testing.T) func() {
				id := c.Faults().Add(fault.Rule{Hang: true})
				return func() { c.Faults().Remove(id) }
			},
		},
		StaleCreate: c.staleCreate,
	}
}

// staleCreate lets a create hang at its disk and kills the node.
func (c *cluster) staleCreate(t *testing.T, d hypervisor.Driver, spec hypervisor.GuestSpec) hypervisor.Operation {
	c.Faults().AddTask(fault.TaskRule{Type: "qmcreate", ID: strconv.Itoa(spec.Ref.ID), Step: "disk", Delay: time.Hour})
	operation, err := d.CreateGuest(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	c.restart(t)
	return operation
}

// foreign makes a guest without any of Gantry's traces, as an old PVE made them: not even a uuid.
func (c *cluster) foreign(t *testing.T, d hypervisor.Driver) hypervisor.GuestRef {
	t.Helper()
	ref := hypervisor.GuestRef{ID: 7777, Node: "pve1", Owner: "11111111-2222-4333-8444-555555555555"}
	operation, err := d.CreateGuest(t.Context(), hypervisor.GuestSpec{
		Ref: ref, Name: "web", Sockets: 1, Cores: 1, MemoryMB: 128, KVM: true, OSFamily: "linux", Limits: hypervisor.Limits{CPUPercent: broker.Unlimited},
		Disks: []hypervisor.DiskSpec{{Key: hypervisor.SystemDisk, Storage: "data", SizeBytes: 1 << 30, IO: hypervisor.UnlimitedIO()}},
		NICs:  []hypervisor.NICSpec{{MAC: "02:00:00:00:77:01", Bridge: "vmbr0", RateMbps: broker.Unlimited}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for state := (hypervisor.OperationState{}); !state.Finished; {
		if state, err = d.OperationState(t.Context(), operation); err != nil || state.Err != nil {
			t.Fatal(err, state.Err)
		}
	}
	c.edit(t, ref.ID, func(conf *guestconf.Config) {
		for _, key := range []string{"smbios1", "tags", "description"} {
			delete(conf.Values, key)
		}
		conf.Values["description"] = "the shop's web server\n"
		conf.Values["tags"] = "shop"
	})
	ref.Owner = ""
	return ref
}

func (c *cluster) edit(t *testing.T, id int, change func(*guestconf.Config)) {
	t.Helper()
	node, _ := c.Cluster().Where(id)
	guest, err := c.Cluster().Guest(node, id)
	if err != nil {
		t.Fatal(err)
	}
	if err := guest.Edit(func(conf *guestconf.Config) error {
		change(conf)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// volumes lists a guest's volumes without the cloud-init drive.
func (c *cluster) volumes(t *testing.T, id int) []string {
	t.Helper()
	var out []string
	for _, definition := range c.Cluster().StorageList() {
		rows, err := c.Cluster().Content(t.Context(), "pve1", &definition, "images", id)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if !strings.Contains(row.VolID, "cloudinit") {
				out = append(out, row.VolID)
			}
		}
	}
	return out
}

func dialScreen(t *testing.T, target hypervisor.ConsoleTarget) []byte {
	t.Helper()
	pin, err := tlspin.Parse(target.TLSPin)
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{}
	for name, value := range target.Header {
		header.Set(name, value)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: tlspin.Pinned(pin)}}
	defer web.CloseIdleConnections()
	connection, _, err := websocket.Dial(ctx, target.Address, &websocket.DialOptions{HTTPClient: web, HTTPHeader: header, Subprotocols: []string{"binary"}})
	if err != nil {
		t.Fatal(err)
	}
	defer connection.CloseNow()
	_, first, err := connection.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return first
}

// unreachable opens a driver for a port that was just given back.
func unreachable(t testing.TB) hypervisor.Driver {
	gone := httptest.NewServer(nil)
	address, err := url.Parse(gone.URL)
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	return open(t, hypervisor.Settings{TLSPin: strings.Repeat("ab", 32), Options: map[string]string{
		"host": address.Hostname(), "port": address.Port(), "tokenId": "root@pam!lab", "tokenSecret": "00000000-0000-0000-0000-000000000000",
	}})
}

// TestConformance runs the suite on both versions, with an API token and with a password, and then checks every request that the
// driver sent against PVE's own schema.
func TestConformance(t *testing.T) {
	for _, version := range []string{"8", "9"} {
		t.Run("PVE "+version+", token", func(t *testing.T) {
			c := start(t, lab.Config{Version: version})
			hypertest.Run(t, c.subject(c.byRootToken))
			t.Run("every request fits PVE's schema", func(t *testing.T) { checkRequests(t, version, c.requests()) })
		})
		t.Run("PVE "+version+", password", func(t *testing.T) {
			c := start(t, lab.Config{Version: version})
			hypertest.Run(t, c.subject(func(t testing.TB) hypervisor.Driver { return c.byPassword(t, c.RootPassword()) }))
			t.Run("every request fits PVE's schema", func(t *testing.T) { checkRequests(t, version, c.requests()) })
		})
	}
}

// TestPrivilegesSuffice runs the suite with a token that has exactly the privileges that Probe asks for, each on the path that it names.
func TestPrivilegesSuffice(t *testing.T) {
	for version, release := range map[string]string{"8": "8.4.1", "9": "9.2.11"} {
		t.Run("PVE "+version, func(t *testing.T) {
			c := start(t, lab.Config{Version: version, Users: []lab.User{{ID: "gantry@pve", Password: "unused-password"}},
				Tokens: []lab.Token{{User: "gantry@pve", Name: "broker", Separated: true}}})
			control := c.Cluster().Access
			for path, names := range pve.PrivilegesByPath(release) {
				role := "Gantry" + strings.ReplaceAll(path, "/", "-")
				if err := control.SetRole(role, names, false, false); err != nil {
					t.Fatal(err)
				}
				// With privilege separation the token's privileges are those that both it and its user have.
				for kind, who := range map[string]string{"user": "gantry@pve", "token": "gantry@pve!broker"} {
					if err := control.SetGrant(access.Grant{Path: path, Kind: kind, Who: who, Role: role, Propagate: true}, false); err != nil {
						t.Fatal(err)
					}
				}
			}
			secret, err := c.Token("gantry@pve", "broker")
			if err != nil {
				t.Fatal(err)
			}
			opener := func(t testing.TB) hypervisor.Driver { return c.byToken(t, "gantry@pve!broker", secret) }
			d := opener(t)
			probe, err := d.Probe(t.Context())
			if err != nil || len(probe.Problems) != 0 {
				t.Errorf("probe is %+v, %v", probe, err)
			}
			hypertest.Run(t, c.subject(opener))
			for _, request := range c.requests() {
				// Only asked for where the certificate does not tell the nodes apart, as in the lab.
				if request.Status == http.StatusForbidden && request.Path != "/cluster/status" {
					t.Errorf("denied: %s %s", request.Method, request.Path)
				}
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTokenWithoutPrivileges is the usual mistake at cluster add: a token with privilege separation that was given nothing.
func TestTokenWithoutPrivileges(t *testing.T) {
	c := start(t, lab.Config{Users: []lab.User{{ID: "admin@pve", Password: "unused-password", Role: "Administrator"}},
		Tokens: []lab.Token{{User: "admin@pve", Name: "bare", Separated: true}, {User: "admin@pve", Name: "full"}}})
	for name, wants := range map[string]bool{"bare": true, "full": false} {
		secret, err := c.Token("admin@pve", name)
		if err != nil {
			t.Fatal(err)
		}
		d := c.byToken(t, "admin@pve!"+name, secret)
		probe, err := d.Probe(t.Context())
		if err != nil || (len(probe.Problems) > 0) != wants {
			t.Errorf("%s: probe is %+v, %v", name, probe, err)
		}
		if wants && probe.Problems[0].Reason != "token_without_privileges" {
			t.Errorf("%s: the first problem is %+v", name, probe.Problems[0])
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
