package api_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gantry/internal/consoleapi"
	"gantry/internal/secrets"
	"gantry/server/account"
	"gantry/server/api"
	"gantry/server/broker"
	"gantry/server/console"
	"gantry/server/console/consoletest"
	"gantry/server/hypervisor"
	"gantry/server/hypervisor/pve"
	"gantry/server/store"
)

const adminPath = "door-0123456789abcdef"

// fixture is the API over the real domain on a real store; hypervisors and the task engine are simulated.
type fixture struct {
	handler  *api.API
	store    broker.Store
	broker   *broker.Broker
	accounts *account.Service
	fleet    *fakeFleet
	queue    *fakeQueue
	log      *logBuffer
	offset   atomic.Int64

	username, password, token string
	keyID                     int64
	basic                     string
}

func (f *fixture) now() time.Time { return time.Now().Add(time.Duration(f.offset.Load())) }

// option changes the configuration of a fixture.
type option func(*api.Config)

func open(t testing.TB, options ...option) *fixture {
	t.Helper()
	folder, installed := installation(t)
	keyring, err := secrets.Open(filepath.Join(folder, "keys"), "")
	check(t, err)
	opened, err := store.Open(t.Context(), store.Config{DSN: "sqlite:" + filepath.Join(folder, "gantry.db"), Secrets: keyring})
	check(t, err)
	t.Cleanup(func() { _ = opened.Close() })
	f := &fixture{store: opened, fleet: newFakeFleet(), queue: &fakeQueue{}, log: &logBuffer{}}
	log := slog.New(slog.NewJSONHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f.accounts, err = account.New(t.Context(), account.Config{Store: f.store, Now: f.now, Log: log})
	check(t, err)
	f.broker = broker.New(f.store, f.fleet, f.queue, broker.DefaultRules(), f.now, log)
	config := api.Config{
		Broker: f.broker, Store: f.store, Accounts: f.accounts,
		Console: console.New(console.Config{}, consoletest.NewMemoryStore(), f.fleet, f.now), Fleet: f.fleet, Queue: f.queue,
		AdminPath: adminPath, Version: "1.2.3", Build: "1.2.3_4", Now: f.now, Log: log,
	}
	for _, each := range options {
		each(&config)
	}
	f.handler, err = api.New(config)
	check(t, err)
	t.Cleanup(func() { check(t, f.handler.Close(context.Background())) })
	f.username, f.password, f.token, f.keyID, f.basic = installed.username, installed.password, installed.token, installed.keyID, installed.basic
	return f
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func basicHeader(appID, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(appID+":"+secret))
}

// stocked is a fixture with a node, a pool of 14 addresses and an image that is on the node: orders can be placed.
func stocked(t testing.TB, options ...option) *fixture {
	t.Helper()
	f := open(t, options...)
	f.admin(t, "POST", "insertNodeMaster", `{"host":"192.0.2.10","port":8006,"username":"root","password":"hypersecret","nodeName":"pve"}`)
	f.admin(t, "POST", "insertIpPoolByMask", `{"nodeId":1,"gateway":"23.94.247.33","mask":28,"dns1":"114.114.114.114","dns2":"8.8.8.8","poolName":"美国1"}`)
	f.admin(t, "POST", "insertOs", `{"name":"CentOS-8-Stream-x64","fileName":"CentOS-8-Stream-x64.qcow2","type":"linux","downType":0,"url":"http://images.example/c.qcow2","osType":"centos","cloud":1}`)
	check(t, f.store.SaveImageCopy(t.Context(), &broker.ImageCopy{
		ImageID: 1, NodeID: 1, State: broker.ImageReady, Progress: 100, Volume: "local:import/CentOS-8-Stream-x64.qcow2",
		SizeBytes: 671 << 20, UpdatedAt: time.Now(),
	}))
	return f
}

// reply is an answer, decoded.
type reply struct {
	status   int
	header   http.Header
	text     string
	Code     int             `json:"code"`
	Message  string          `json:"message"`
	Data     json.RawMessage `json:"data"`
	Warnings []string        `json:"warnings"`
}

func (f *fixture) send(t testing.TB, method, path string, header map[string]string, body string) reply {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.RemoteAddr = "192.0.2.1:40000"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	recorder := httptest.NewRecorder()
	f.handler.ServeHTTP(recorder, r)
	text, err := io.ReadAll(recorder.Body)
	check(t, err)
	got := reply{status: recorder.Code, header: recorder.Header(), text: string(text)}
	if strings.HasPrefix(got.header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s %s: answer is not JSON: %s", method, path, text)
		}
	}
	return got
}

// admin sends an admin's call that must succeed.
func (f *fixture) admin(t testing.TB, method, call, body string) reply {
	t.Helper()
	got := f.send(t, method, "/"+adminPath+"/"+call, map[string]string{"Authorization": f.token}, body)
	if got.Code != 20000 {
		t.Fatalf("%s %s: %s\n%s", method, call, got.text, f.errors())
	}
	return got
}

// billing sends a billing system's call that must succeed.
func (f *fixture) billing(t testing.TB, method, call, body string) reply {
	t.Helper()
	got := f.send(t, method, "/api/v1/"+call, map[string]string{"Authorization": f.basic}, body)
	if got.Code != 20000 {
		t.Fatalf("%s %s: %s\n%s", method, call, got.text, f.errors())
	}
	return got
}

func into[T any](t testing.TB, data json.RawMessage) T {
	t.Helper()
	var value T
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return value
}

// reserved counts what an order reserves.
type reserved struct{ vms, addresses, tasks int64 }

func (f *fixture) reserved(t testing.TB) reserved {
	t.Helper()
	var now reserved
	var err error
	now.vms, err = f.store.CountVMs(t.Context(), broker.VMFilter{})
	check(t, err)
	_, now.tasks, err = f.store.ListTasks(t.Context(), broker.TaskFilter{}, broker.Page{Number: 1, Size: 1})
	check(t, err)
	pools, _, err := f.store.ListPools(t.Context(), broker.Page{Number: 1, Size: 10})
	check(t, err)
	for _, pool := range pools {
		counts, err := f.store.CountPool(t.Context(), pool.ID)
		check(t, err)
		now.addresses += counts.Used
	}
	return now
}

// setStatus ends the create task of a VM as the engine would.
func (f *fixture) setStatus(t testing.TB, id int64, status broker.VMStatus) {
	t.Helper()
	vm, err := f.store.FindVM(t.Context(), id)
	check(t, err)
	vm.Status, vm.TaskID = status, nil
	check(t, f.store.UpdateVM(t.Context(), vm))
}

type fakeQueue struct{ woken atomic.Int64 }

func (q *fakeQueue) Arriving() func()              { return func() {} }
func (q *fakeQueue) Wake()                         { q.woken.Add(1) }
func (q *fakeQueue) Deadline(string) time.Duration { return 30 * time.Minute }

// fakeFleet is one cluster with the nodes pve and pve2, each with storage local-lvm and bridges vmbr0 and vmbr1.
type fakeFleet struct {
	broker.Fleet // what tests do not use
	down         atomic.Bool
	panics       atomic.Bool
	hangs        atomic.Bool
	inspected    atomic.Pointer[broker.Cluster]
	asked        atomic.Value // timeframe and consolidation of the last history
	lacks        atomic.Pointer[broker.Capability]
	foreign      foreignGuests
}

func newFakeFleet() *fakeFleet { return &fakeFleet{} }

func (f *fakeFleet) Kinds() []string { return []string{"pve"} }
func (f *fakeFleet) Forget(int64)    {}

// The options are those of the real driver.
func (f *fakeFleet) Drivers() []hypervisor.Kind { return []hypervisor.Kind{pve.Kind()} }
func (f *fakeFleet) Endpoint(_ string, options map[string]string) (string, error) {
	return pve.Kind().Endpoint(options)
}
func (f *fakeFleet) Supports(_ context.Context, _ int64, capability broker.Capability) bool {
	lacks := f.lacks.Load()
	return lacks == nil || *lacks != capability
}

func (f *fakeFleet) Inspect(_ context.Context, cluster *broker.Cluster) (*broker.ClusterReport, error) {
	f.inspected.Store(cluster)
	if f.down.Load() {
		return nil, broker.Because(broker.Unreachable, broker.ReasonHypervisorUnreachable, "connection refused")
	}
	report := &broker.ClusterReport{Version: "9.2.11", TLSPin: strings.Repeat("ab", 32), ThisNode: "pve"}
	report.Problems = []broker.ClusterProblem{{
		Reason: "missing_privilege",
		Text:   map[broker.Language]string{broker.English: "privilege VM.Console is missing", broker.Chinese: "缺少权限 VM.Console"},
	}}
	for _, name := range []string{"pve", "pve2"} {
		report.Nodes = append(report.Nodes, broker.ClusterNode{
			Node:     broker.Node{Name: name, CPUs: 8, MemoryBytes: 32 << 30},
			Storages: []broker.Storage{{Name: "local-lvm", Type: "lvmthin", Content: []string{"images"}, Enabled: true, Active: true, Total: 1 << 40, Available: 1 << 39}},
			Bridges:  []broker.Bridge{{Name: "vmbr0", Active: true}, {Name: "vmbr1", Active: true}},
		})
	}
	return report, nil
}

func (f *fakeFleet) CheckDaemon(_ context.Context, daemon broker.Daemon) (string, string, error) {
	if f.down.Load() {
		return "", "", broker.Errorf(broker.Unreachable, "connection refused")
	}
	return strings.Repeat("cd", 32), "1.0.0", nil
}

func (f *fakeFleet) Live(ctx context.Context, vm *broker.VM) (map[string]any, error) {
	switch {
	case f.panics.Load():
		panic("secret of the panic")
	case f.hangs.Load():
		<-ctx.Done()
		return nil, broker.Errorf(broker.Unreachable, "timeout")
	case f.down.Load():
		return nil, broker.Errorf(broker.Unreachable, "connection refused")
	}
	return map[string]any{"status": "running", "vmid": vm.VMID, "cpu": 0.25, "uptime": 60}, nil
}

func (f *fakeFleet) History(ctx context.Context, _ *broker.VM, _, _ string) ([]map[string]float64, error) {
	if f.hangs.Load() {
		<-ctx.Done()
	}
	if f.down.Load() || ctx.Err() != nil {
		return nil, broker.Errorf(broker.Unreachable, "connection refused")
	}
	return []map[string]float64{{"time": 1700890500, "cpu": 0.1}}, nil
}

func (f *fakeFleet) NodeLive(ctx context.Context, node *broker.Node) (map[string]any, error) {
	if err := f.nodeFailure(ctx); err != nil {
		return nil, err
	}
	return map[string]any{
		"cpuinfo": map[string]any{
			"flags": "fpu vme", "model": "Xeon", "sockets": 2, "user_hz": 100, "mhz": "2499.998", "cpus": 20, "hvm": "1", "cores": 20,
		},
		"wait": 0.1, "memory": map[string]any{"free": 1, "total": 2, "used": 1}, "idle": 0, "ksm": map[string]any{"shared": 0},
		"loadavg": []string{"16.00"}, "kversion": "Linux", "cpu": 0.8,
		"rootfs": map[string]any{"avail": 1, "used": 1, "free": 1, "total": 2},
		"swap":   map[string]any{"total": 1, "free": 1, "used": 0}, "pveversion": "pve-manager/7.4-3/9002ab8a", "uptime": 42061,
	}, nil
}

func (f *fakeFleet) NodeHistory(ctx context.Context, _ *broker.Node, timeframe, consolidation string) ([]map[string]float64, error) {
	if err := f.nodeFailure(ctx); err != nil {
		return nil, err
	}
	f.asked.Store(timeframe + " " + consolidation)
	return []map[string]float64{{
		"memused": 1, "roottotal": 2, "memtotal": 2, "rootused": 1, "iowait": 0, "cpu": 0.1, "time": 1690394400, "swapused": 0, "netin": 1,
		"netout": 1, "swaptotal": 1, "loadavg": 0.1, "maxcpu": 8,
	}}, nil
}

func (f *fakeFleet) NodeNetworks(ctx context.Context, _ *broker.Node) ([]map[string]any, error) {
	if err := f.nodeFailure(ctx); err != nil {
		return nil, err
	}
	return []map[string]any{{"iface": "vmbr0", "type": "bridge", "active": 1}}, nil
}

func (f *fakeFleet) NodeFile(ctx context.Context, node *broker.Node, folder, file string) (string, error) {
	if node.Daemon.URL == "" {
		return "", broker.Errorf(broker.Unsupported, "node %s has no daemon", node.Name)
	}
	if err := f.nodeFailure(ctx); err != nil {
		return "", err
	}
	return "# " + folder + "/" + file, nil
}

func (f *fakeFleet) nodeFailure(ctx context.Context) error {
	if f.hangs.Load() {
		<-ctx.Done()
	}
	if f.down.Load() || ctx.Err() != nil {
		return broker.Because(broker.Unreachable, broker.ReasonHypervisorUnreachable, "connection refused")
	}
	return nil
}

func (f *fakeFleet) ConsoleStream(context.Context, int64) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		_, _ = io.WriteString(far, "screen") // whoever reads it may have gone
		_ = far.Close()
	}()
	return near, nil
}

func (f *fakeFleet) ConsoleTarget(context.Context, int64) (consoleapi.Target, error) {
	return consoleapi.Target{
		Network: consoleapi.NetworkTCP, Address: "192.0.2.10:5900", VNCPassword: "vncsecret", VMLabel: "vm",
	}, nil
}

// errors gives the lines of the log that tell of defects.
func (f *fixture) errors() string {
	var found []string
	for line := range strings.Lines(f.log.String()) {
		if strings.Contains(line, `"level":"ERROR"`) {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}

// logBuffer keeps a log that is read while it is written.
type logBuffer struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (b *logBuffer) Write(line []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.text.Write(line)
}

func (b *logBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.text.String()
}
