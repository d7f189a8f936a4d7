package crash

import (
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gantry/controlled"
	"gantry/internal/libvirttest"
	"gantry/internal/secrets"
	"gantry/lab"
	"gantry/server"
	"gantry/server/store"
)

const (
	nodeName  = "pve1"
	otherNode = "pve2"
	// foreignGuest is somebody else's machine, with a VMID that our orders come to.
	foreignGuest = 102
	imageFile    = "debian-12.qcow2"
	systemDiskGB = 5
	dataDiskGB   = 3
)

// installation is a lab, where wanted a daemon on its node, and a broker, each a process that can be killed; set up by API.
type installation struct {
	folder              string
	server, lab, daemon *process
	gate                *gate
	hello               labHello
	daemonAt            daemonHello
	adminPath           string
	panel, billing      *client
	hypervisor, faults  *client
	images              *httptest.Server
	nodeID, imageID     int64
	store               *store.Store
	database            *sql.DB
	dsn                 string
	workflows           workflowSteps
	// api is where the billing API of the hypervisor begins, content what every image holds, ordered what a machine is ordered with.
	api     string
	content []byte
	ordered map[string]any
	// libvirt is the hypervisor, nil for the lab.
	libvirt     *libvirttest.Host
	imageFolder string
	imports     bool // by the hypervisor's own API
	// counted numbers orders and images; machine is a machine to work on, fresh an image that is on no node.
	counted        int
	machine, fresh int64
	complaints     map[string]bool
	// powerCuts tells that the node may have left volumes that no configuration names.
	powerCuts bool
	// holdTasks is where tasks of the hypervisor stand still, "" = nowhere.
	holdTasks string
}

// kind says how an installation is made.
type kind struct {
	mariadb bool
	// daemon: a node whose storages have no content "import", so that images come by `controlled`. Without it the node has a
	// daemon, too, but needs it for stale locks only.
	imports bool
	// compares: requests are compared, so that nothing but the test's own disturbance may refuse one. Otherwise PVE 9's `qm cleanup` does,
	// for a moment after a guest was stopped and started.
	compares bool
}

func install(t *testing.T, kind kind) *installation {
	t.Helper()
	i := newInstallation(t)
	i.api, i.imports, i.content = "/api/v1/pve", kind.imports, image(2<<30)
	i.startLab(t, kind)
	i.startDaemon(t)
	if kind.mariadb {
		i.dsn = mariadb.Database(t)
	}
	i.startServer(t)
	i.openStore(t)
	i.setUp(t)
	return i
}

// newInstallation has folders and what serves images; no program runs yet.
func newInstallation(t *testing.T) *installation {
	t.Helper()
	folder, err := os.MkdirTemp("", "gantry-crash-") // t.TempDir() is too long for sockets
	check(t, err)
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(folder)
			return
		}
		t.Logf("logs of the programs are kept in %s", folder)
	})
	i := &installation{folder: folder, imageFolder: filepath.Join(folder, "images"), workflows: allSteps(), complaints: map[string]bool{}}
	for _, name := range []string{"server", "lab", "controlled", "images"} {
		check(t, os.Mkdir(filepath.Join(folder, name), 0o700))
	}
	i.images = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(i.content)
	}))
	t.Cleanup(i.images.Close)
	i.gate = newGate(t, folder)
	return i
}

// image is a qcow2 header with a virtual size: all that guests in memory need.
func image(size uint64) []byte {
	out := make([]byte, 4096)
	copy(out, "QFI\xfb\x00\x00\x00\x03")
	binary.BigEndian.PutUint64(out[24:], size)
	return out
}

func (i *installation) path(parts ...string) string {
	return filepath.Join(append([]string{i.folder}, parts...)...)
}

func (i *installation) startLab(t *testing.T, kind kind) {
	storages := lab.DefaultStorages()
	if !kind.imports {
		storages[0].Content = []string{"images", "iso"}
	}
	settings := labSettings{
		Listen: loopback(freePort(t)), DataDir: i.path("lab"), ControlListen: loopback(freePort(t)), ControlToken: "control", Storages: storages,
		NoCleanupLock: kind.compares,
	}
	i.lab = newProcess(t, asLab, i.folder, settings)
	i.lab.start(t)
	i.lab.greeted(t, &i.hello)
	i.hypervisor = newClient(i.hello.URL, "PVEAPIToken="+i.hello.TokenID+"="+i.hello.TokenSecret).pinned(t)
	i.faults = newClient(i.hello.Control, "Bearer "+i.hello.ControlToken)
	form := url.Values{"vmid": {strconv.Itoa(foreignGuest)}, "name": {"foreign"}, "scsi0": {"data:1"}}
	check(t, i.hypervisor.pve("POST", "/nodes/"+nodeName+"/qemu", form, nil))
}

func (i *installation) startDaemon(t *testing.T) {
	executable, err := os.Executable()
	check(t, err)
	settings := controlled.DefaultConfig()
	settings.Listen, settings.DataDir, settings.ImageDirs = loopback(freePort(t)), i.path("controlled"), []string{i.imageFolder}
	settings.QMCommand = []string{executable, asQM, i.hello.Socket, nodeName}
	settings.SupervisorCommand = []string{executable, asSupervisor}
	settings.AllowPrivateDownloads = true
	i.daemon = newProcess(t, asDaemon, i.folder, settings)
	i.daemon.start(t)
	i.daemon.greeted(t, &i.daemonAt)
}

func (i *installation) startServer(t *testing.T) {
	settings := serverSettings{Listen: loopback(freePort(t)), DataDir: i.path("server"), DSN: i.dsn, Gate: i.gate.socket}
	i.server = newProcess(t, asServer, i.folder, settings)
	i.panel = newClient("http://"+settings.Listen, "")
	i.server.start(t)
	i.serverReady(t)
}

// serverReady waits until the broker answers.
func (i *installation) serverReady(t *testing.T) {
	t.Helper()
	eventually(t, "the broker answers", func() error {
		select {
		case <-i.server.ended:
			t.Fatalf("the broker ended by itself: %s", tail(i.server.file(".log")))
		default:
		}
		status, _, err := i.panel.send("GET", "/readyz", nil)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("HTTP %d", status)
		}
		return err
	})
}

// openStore opens the broker's database beside it, to look at.
func (i *installation) openStore(t *testing.T) {
	keyring, err := secrets.Open(i.path("server", "secret.key"), "")
	check(t, err)
	config := server.DefaultConfig()
	config.DataDir, config.Database.DSN = i.path("server"), i.dsn
	i.store, err = store.Open(t.Context(), store.Config{DSN: config.DSN(), Secrets: keyring})
	check(t, err)
	kind, name, _ := strings.Cut(config.DSN(), ":")
	i.database, err = sql.Open(kind, name)
	check(t, err)
	t.Cleanup(func() {
		check(t, i.store.Close())
		check(t, i.database.Close())
	})
}

// page is the part of an AMS list that is read here.
type page struct {
	Records []struct {
		ID       int64  `json:"id"`
		NodeName string `json:"nodeName"`
		FileName string `json:"fileName"`
	} `json:"records"`
}

// setUp logs in and makes key, node, addresses and image, as an operator does.
func (i *installation) setUp(t *testing.T) {
	i.logIn(t)
	address, err := url.Parse(i.hello.URL)
	check(t, err)
	port, err := strconv.Atoi(address.Port())
	check(t, err)
	i.addNode(t, nodeName, map[string]any{
		"host": address.Hostname(), "port": port, "nodeName": nodeName, "tokenId": i.hello.TokenID, "tokenSecret": i.hello.TokenSecret,
		"controllerUrl": i.daemonAt.URL, "controllerSecret": i.daemonAt.Secret,
	}, map[string]any{"memory": 512, "storage": "data", "systemDiskSize": systemDiskGB, "dataDisk": map[string]int{"1": dataDiskGB}})
}

// logIn makes an API key, too.
func (i *installation) logIn(t *testing.T) {
	var login server.FirstLogin
	text, err := os.ReadFile(i.path("server", "first-login.json"))
	check(t, err)
	check(t, json.Unmarshal(text, &login))
	i.adminPath = "/" + login.AdminPath
	var token string
	check(t, i.panel.ams("POST", i.adminPath+"/loginDo", map[string]string{"username": login.Username, "password": login.Password}, &token))
	i.panel = i.panel.with("Authorization", token)
	var key struct{ AppID, AppKey string }
	check(t, i.panel.ams("POST", i.adminPath+"/insertApiKey", map[string]string{"info": "tests"}, &key))
	i.billing = i.panel.with("Authorization", basic(key.AppID, key.AppKey))
}

// addNode adds a node with addresses and an image. Machines are ordered on it as ordered says; name "" = the only node.
func (i *installation) addNode(t *testing.T, name string, node, ordered map[string]any) {
	t.Helper()
	check(t, i.panel.ams("POST", i.adminPath+"/insertNodeMaster", node, nil))
	var nodes page
	check(t, i.panel.ams("GET", i.adminPath+"/selectNodeByPage?page=1&size=100", nil, &nodes))
	for _, node := range nodes.Records {
		if name == "" || node.NodeName == name {
			i.nodeID = node.ID
		}
	}
	check(t, i.panel.ams("POST", i.adminPath+"/insertIpPoolByMask", map[string]any{
		"poolName": "tests", "nodeId": i.nodeID, "gateway": "10.20.0.1", "mask": 22, "dns1": "9.9.9.9",
	}, nil))
	i.ordered = ordered
	i.ordered["nodeid"], i.ordered["os"] = i.nodeID, imageFile
	i.imageID = i.addImage(t, imageFile)
	i.download(t, i.imageID)
	i.finish(t)
}

// addImage makes a new image known.
func (i *installation) addImage(t *testing.T, fileName string) int64 {
	t.Helper()
	sum := sha256.Sum256(i.content)
	check(t, i.panel.ams("POST", i.adminPath+"/insertOs", map[string]any{
		"name": fileName, "fileName": fileName, "type": "linux", "osType": "debian", "downType": 0, "cloud": 1,
		"url": i.images.URL + "/" + fileName, "checksum": "sha256:" + hex.EncodeToString(sum[:]), "path": i.imageFolder,
	}, nil))
	image, err := i.store.FindImageByName(t.Context(), fileName)
	check(t, err)
	return image.ID
}

func (i *installation) download(t *testing.T, image int64) {
	t.Helper()
	whenOnline(t, func() error {
		return i.panel.ams("POST", i.adminPath+"/downloadOs", map[string]int64{"osId": image, "nodeId": i.nodeID}, nil)
	})
}
