package pve

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// What PVE, or a proxy in front of it, answers to a GET and to a POST, and what it means. go-proxmox takes half of these for success.
func TestAnswersHaveKinds(t *testing.T) {
	const failed, unknown = broker.Failed, broker.UnknownOutcome
	for _, fact := range []struct {
		status, body string
		get, post    broker.Kind
		says         string
	}{
		{"400 Parameter verification failed.", `{"data":null,"message":"Parameter verification failed.\n","errors":{"name":"invalid format - value does not look like a valid DNS name\n"}}`, broker.Invalid, broker.Invalid, "valid DNS name"},
		{"400 Parameter verification failed.", `{"errors":{"upid":"no such task"}}`, broker.NotFound, broker.NotFound, "no such task"},
		{"400 Parameter verification failed.", `{"errors":{"storage":"No such storage."}}`, broker.NotFound, broker.NotFound, "No such storage"},
		{"400 Parameter verification failed.", `{"errors":{"vmid":"VM 100 already exists"}}`, broker.Exists, broker.Exists, "already exists"},
		{"400 Parameter verification failed.", `{"errors":{"skiplock":"Only root may use this option."}}`, broker.HypervisorAuth, broker.HypervisorAuth, "only root@pam"},
		{"401 invalid token value!", "", broker.HypervisorAuth, broker.HypervisorAuth, "invalid token value!"},
		{"401 Authentication failed!", "", broker.HypervisorAuth, broker.HypervisorAuth, "Authentication failed!"},
		{"403 Permission check failed (/vms/110, VM.Audit)", `{"data":null,"message":"Permission check failed (/vms/110, VM.Audit)\n"}`, broker.HypervisorAuth, broker.HypervisorAuth, "/vms/110, VM.Audit"},
		{"403 Permission check failed (pool 'x' does not exist)", "", broker.NotFound, broker.NotFound, "pool 'x'"},
		{"404 Not Found", "<html>nginx</html>", broker.NotFound, broker.NotFound, "Not Found"},
		{"423 Locked", "", failed, failed, "Locked"},
		{"424 node is not in a cluster, no join info available!", `{"data":null,"message":"node is not in a cluster, no join info available!"}`, failed, failed, "not in a cluster"},
		{"429 Too Many Requests", "", broker.Busy, broker.Busy, "Too Many"},
		{"500 Configuration file 'nodes/pve1/qemu-server/998.conf' does not exist", `{"data":null}`, broker.NotFound, broker.NotFound, "998.conf"},
		{"500 Internal Server Error", `{"data":null,"message":"VM is locked (backup)\n"}`, broker.Locked, broker.Locked, "VM is locked (backup)"},
		{"500 VM is locked (backup)", "", broker.Locked, broker.Locked, "(backup)"},
		{"500 VM is locked (suspended)", "", broker.Conflict, broker.Conflict, "(suspended)"},
		{"500 can't lock file '/var/lock/qemu-server/lock-522.conf' - got timeout", "", broker.Locked, broker.Locked, "got timeout"},
		{"500 cfs-lock 'storage-nfs' error: got lock request timeout", "", broker.Locked, broker.Locked, "cfs-lock"},
		{"500 checksum mismatch (file change by other user?)", "", broker.Locked, broker.Locked, "checksum mismatch"},
		{"500 got no worker upid - start worker failed", "", unknown, unknown, "got no worker upid"},
		{"500 unable to create VM 100 - VM 100 already exists on node 'pve1'", "", broker.Exists, broker.Exists, "already exists"},
		{"500 unable to create VM 100: config file already exists", "", broker.Exists, broker.Exists, "already exists"},
		{"500 VM 110 is running - destroy failed", "", broker.Conflict, broker.Conflict, "is running"},
		{"500 VM 103 not running", "", broker.Conflict, broker.Conflict, "not running"},
		{"500 can't remove VM 522 - protection mode enabled", "", broker.Conflict, broker.Conflict, "protection"},
		{"500 storage 'nope' does not exist", "", broker.NotFound, broker.NotFound, "nope"},
		{"500 hostname lookup 'nope' failed - failed to get address info for: nope: Name or service not known", "", broker.NotFound, broker.NotFound, "nope"},
		{"500 Only root can pass arbitrary filesystem paths. at /usr/share/perl5/PVE/Storage.pm line 651.", "", broker.HypervisorAuth, broker.HypervisorAuth, "Only root"},
		{"500 only root can set 'args' config", "", broker.HypervisorAuth, broker.HypervisorAuth, "args"},
		{"500 unable to create image: qemu-img: No space left on device", "", broker.Exhausted, broker.Exhausted, "No space"},
		{"500 cluster not ready - no quorum?", "", broker.Unreachable, broker.Unreachable, "no quorum"},
		{"500 ", "", failed, failed, "500"},
		{"501 Method 'GET /foo' not implemented", `{"message":"Method 'GET /foo' not implemented","data":null}`, broker.Unsupported, broker.Unsupported, "not implemented"},
		{"502 Bad Gateway", "<html>", broker.Unreachable, unknown, "Bad Gateway"},
		{"503 Service Unavailable", "", broker.Unreachable, broker.Unreachable, "Service Unavailable"},
		{"504 Gateway Timeout", "", broker.Unreachable, unknown, "Gateway Timeout"},
		{"595 No route to host", "", broker.Unreachable, broker.Unreachable, "No route to host"},
		{"595 Connection refused", "", broker.Unreachable, broker.Unreachable, "Connection refused"},
		{"596 Broken pipe", "", broker.Unreachable, unknown, "Broken pipe"},
		{"599 Too many redirections", "", broker.Unreachable, unknown, "Too many"},
		{"301 Moved Permanently", "", failed, failed, "Moved"},
	} {
		t.Run(fact.status, func(t *testing.T) {
			s := serve(t, func(*http.Request) string { return reply(fact.status, fact.body) })
			d := s.byToken(t)
			var out any
			err := d.client.get(t.Context(), "/nodes", nil, &out)
			check(t, err, fact.get, fact.says)
			operation, err := d.client.begin(t.Context(), "POST", "/nodes/pve1/qemu", map[string]any{"vmid": 100})
			check(t, err, fact.post, fact.says)
			if !operation.Done() {
				t.Errorf("began %+v", operation)
			}
			if seen := s.seen(); len(seen) != 2 {
				t.Errorf("requests were repeated: %q", seen)
			}
		})
	}
}

func check(t *testing.T, err error, kind broker.Kind, says string) {
	t.Helper()
	if broker.KindOf(err) != kind || !strings.Contains(broker.DetailOf(err), says) {
		t.Errorf("got %q: %s; want %q with %q", broker.KindOf(err), broker.DetailOf(err), kind, says)
	}
}

func TestBadParametersNameTheField(t *testing.T) {
	s := serve(t, func(*http.Request) string {
		return reply("400 Parameter verification failed.", `{"errors":{"net0":"bad","cores":"type check ('integer') failed - got 'abc'"},"message":"Parameter verification failed.\n"}`)
	})
	_, err := s.byToken(t).client.begin(t.Context(), "POST", "/nodes/pve1/qemu", nil)
	var failure *broker.Error
	if !errors.As(err, &failure) || failure.Field != "cores" || failure.Detail != "type check ('integer') failed - got 'abc'; net0: bad" {
		t.Errorf("got %+v", failure)
	}
}

func TestLostReplies(t *testing.T) {
	for name, answer := range map[string]string{
		"no answer at all":   cut,
		"half a status line": "HTTP/1.1 20" + cut,
		"half a body":        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"data\":" + cut,
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(*http.Request) string { return answer })
			d := s.byToken(t)
			for _, method := range []string{"POST", "PUT", "DELETE"} {
				before := len(s.seen())
				_, err := d.client.begin(t.Context(), method, "/nodes/pve1/qemu/100", nil)
				check(t, err, broker.UnknownOutcome, "the reply of Proxmox VE was lost")
				if sent := len(s.seen()) - before; sent != 1 {
					t.Errorf("%s was sent %d times", method, sent)
				}
			}
			var out any
			check(t, d.client.get(t.Context(), "/nodes", nil, &out), broker.Unreachable, "can't be reached")
		})
	}
}

func TestAnswersThatMakeNoSense(t *testing.T) {
	for _, body := range []string{"", "null", `{"data":null}`, `{"data":"UPID:short"}`, `{"data":{}}`, "<html>"} {
		s := serve(t, func(*http.Request) string { return reply("200 OK", body) })
		operation, err := s.byToken(t).client.begin(t.Context(), "POST", "/nodes/pve1/qemu", nil)
		if !broker.Is(err, broker.UnknownOutcome) || !operation.Done() {
			t.Errorf("%q: %+v, %v", body, operation, err)
		}
	}
	s := serve(t, func(*http.Request) string { return reply("200 OK", "<html>") })
	_, err := s.byToken(t).Inventory(t.Context())
	check(t, err, broker.Failed, "can't be read")
}

func TestNothingWasWrittenIsUnreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := listener.Addr().(*net.TCPAddr)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	s := &rawServer{listener: fixedAddress{listener, refused}}
	s.pin[0] = 1
	_, err = s.byToken(t).client.begin(t.Context(), "POST", "/nodes/pve1/qemu", nil)
	check(t, err, broker.Unreachable, "connection refused")
}

type fixedAddress struct {
	net.Listener
	address net.Addr
}

func (f fixedAddress) Addr() net.Addr { return f.address }

func TestPinHoldsBeforeAnythingIsSent(t *testing.T) {
	s := serve(t, pages(map[string]string{"GET /cluster/resources": data("[]")}))
	settings := s.settings(map[string]string{"tokenId": testToken, "tokenSecret": testSecret})
	settings.TLSPin = strings.Repeat("ab", 32)
	d := openRaw(t, settings)
	_, err := d.Inventory(t.Context())
	check(t, err, broker.HypervisorAuth, "certificate is not the pinned one")
	_, err = d.client.begin(t.Context(), "POST", "/nodes/pve1/qemu", nil)
	check(t, err, broker.HypervisorAuth, "certificate is not the pinned one")
	if seen := s.seen(); len(seen) != 0 {
		t.Errorf("it was sent %q", seen)
	}
}

func TestUnpinnedDriverOnlyProbes(t *testing.T) {
	s := serve(t, pages(map[string]string{
		"GET /version": data(`{"version":"9.2.11"}`), "GET /nodes": data(`[{"node":"pve1","status":"online"}]`),
		"GET /access/permissions": data(`{}`), "GET /cluster/status": data(`[{"type":"node","name":"pve1","local":1}]`),
		"GET /cluster/resources": data("[]"),
	}))
	settings := s.settings(map[string]string{"tokenId": testToken, "tokenSecret": testSecret})
	settings.TLSPin = ""
	d := openRaw(t, settings)
	_, err := d.Inventory(t.Context())
	check(t, err, broker.Invalid, "not pinned yet")
	if len(s.seen()) != 0 {
		t.Error("something was sent")
	}
	probe, err := d.Probe(t.Context())
	if err != nil || probe.TLSPin != hex.EncodeToString(s.pin[:]) || probe.ThisNode != "pve1" {
		t.Errorf("probe is %+v, %v", probe, err)
	}
}

func TestConnectionsAreKept(t *testing.T) {
	s := serve(t, pages(map[string]string{"GET /cluster/resources": data("[]")}))
	d := s.byToken(t)
	for range 20 {
		if _, err := d.Inventory(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if made := s.connections.Load(); made != 1 {
		t.Errorf("%d connections for 20 requests", made)
	}
}

func TestRequestsInFlightAreBounded(t *testing.T) {
	var inFlight, most atomic.Int64
	arrived := make(chan struct{}, 100)
	release := make(chan struct{})
	s := serve(t, func(*http.Request) string {
		now := inFlight.Add(1)
		defer inFlight.Add(-1)
		for {
			before := most.Load()
			if now <= before || most.CompareAndSwap(before, now) {
				break
			}
		}
		arrived <- struct{}{}
		<-release
		return data("[]")
	})
	d := s.byToken(t)
	var wait sync.WaitGroup
	for range 40 {
		wait.Go(func() {
			if _, err := d.Inventory(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	for range maxInFlight {
		<-arrived
	}
	// All slots are taken: who comes now waits as long as its context does, and nothing was sent.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := d.client.begin(ctx, "POST", "/nodes/pve1/qemu", nil)
	check(t, err, broker.Unreachable, "too many requests")
	close(release)
	wait.Wait()
	if got := most.Load(); got != maxInFlight {
		t.Errorf("%d requests at once, want %d", got, maxInFlight)
	}
}

func TestPasswordsStayOutOfErrors(t *testing.T) {
	for _, answer := range []string{cut, reply("500 something failed", ""), reply("200 OK", "<html>")} {
		s := serve(t, func(*http.Request) string { return answer })
		spec := hypervisor.GuestSpec{Ref: testRef, Name: "web", Sockets: 1, Cores: 1, MemoryMB: 64, Limits: hypervisor.Limits{CPUPercent: broker.Unlimited},
			CloudInit: &hypervisor.CloudInit{User: "root", Password: "hunter2"}, CloudInitStorage: "local"}
		_, err := s.byToken(t).CreateGuest(t.Context(), spec)
		if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), testSecret) {
			t.Errorf("error is %v", err)
		}
		if !slices.ContainsFunc(s.seen(), func(request string) bool { return strings.Contains(request, "hunter2") }) {
			t.Error("the password was not sent")
		}
	}
}
