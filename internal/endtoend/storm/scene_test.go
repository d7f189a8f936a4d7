package storm

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gantry/internal/secrets"
	"gantry/lab"
	"gantry/server"
	"gantry/server/store"
)

const (
	nodes     = 6
	imageFile = "debian-12.qcow2"
	// startPatience bounds the start of the broker and the download of the image.
	startPatience = 30 * time.Second
)

// scene is a lab and a broker with one cluster whose nodes all have the image and addresses.
type scene struct {
	folder         string
	lab            *lab.Lab
	panel, billing *client
	nodeIDs        []int64
	store          *store.Store
	database       *sql.DB
	// foreign are the VMIDs of guests that are not ours.
	foreign map[int]bool
}

func open(t *testing.T, dsn string) *scene {
	t.Helper()
	s := &scene{folder: t.TempDir(), foreign: map[int]bool{}}
	s.startLab(t)
	s.startServer(t, dsn)
	s.setUp(t)
	return s
}

func (s *scene) startLab(t *testing.T) {
	config := lab.Config{
		DataDir: filepath.Join(s.folder, "lab"), TimeScale: 0.01, StatusInterval: time.Second, UnauthorizedDelay: -1,
	}
	for number := range nodes {
		config.Nodes = append(config.Nodes, nodeName(number))
	}
	var err error
	s.lab, err = lab.Start(t.Context(), config)
	check(t, err)
	t.Cleanup(func() { check(t, s.lab.Close()) })
}

func nodeName(number int) string { return fmt.Sprintf("pve%d", number+1) }

// startServer runs the broker as its program does, and opens its database beside it, to look at.
func (s *scene) startServer(t *testing.T, dsn string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	address := listener.Addr().String()
	check(t, listener.Close())
	log, err := os.Create(filepath.Join(s.folder, "server.log"))
	check(t, err)
	config := server.DefaultConfig()
	config.Listen, config.DataDir, config.Database.DSN = address, filepath.Join(s.folder, "server"), dsn
	config.Logger = slog.New(slog.NewTextHandler(log, nil))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, config) }()
	t.Cleanup(func() {
		stop()
		check(t, <-ended)
		check(t, log.Close())
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("end of the broker's log:\n%s", text[max(0, len(text)-4000):])
		}
	})
	s.panel = newClient("http://" + address)
	eventually(t, "the broker answers", startPatience, func() error {
		select {
		case err := <-ended:
			t.Fatalf("the broker ended: %v", err)
		default:
		}
		response, err := s.panel.http.Get(s.panel.base + "/readyz")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode != http.StatusOK {
				err = fmt.Errorf("HTTP %d", response.StatusCode)
			}
		}
		return err
	})
	s.openStore(t, config)
}

func (s *scene) openStore(t *testing.T, config server.Config) {
	keyring, err := secrets.Open(config.KeyFile(), "")
	check(t, err)
	s.store, err = store.Open(t.Context(), store.Config{DSN: config.DSN(), Secrets: keyring})
	check(t, err)
	kind, name, _ := strings.Cut(config.DSN(), ":")
	s.database, err = sql.Open(kind, name)
	check(t, err)
	t.Cleanup(func() {
		check(t, s.database.Close())
		check(t, s.store.Close())
	})
}

// setUp adds cluster, addresses and image, as an operator does.
func (s *scene) setUp(t *testing.T) {
	var login server.FirstLogin
	text, err := os.ReadFile(filepath.Join(s.folder, "server", "first-login.json"))
	check(t, err)
	check(t, json.Unmarshal(text, &login))
	s.panel.base += "/" + login.AdminPath
	var token string
	check(t, s.panel.call("POST", "/loginDo", "", map[string]string{"username": login.Username, "password": login.Password}, &token))
	s.panel = s.panel.with(token)
	var key struct{ AppID, AppKey string }
	check(t, s.panel.call("POST", "/insertApiKey", "", map[string]string{"info": "storm"}, &key))
	s.billing = s.panel.with(basic(key.AppID, key.AppKey))
	s.billing.base = strings.TrimSuffix(s.panel.base, "/"+login.AdminPath) + "/api/v1/pve"

	host, port, err := net.SplitHostPort(strings.TrimPrefix(s.lab.URL(), "https://"))
	check(t, err)
	tokenID, secret := s.lab.RootToken()
	check(t, s.panel.call("POST", "/insertNodeMaster", "", map[string]any{
		"host": host, "port": port, "nodeName": nodeName(0), "tokenId": tokenID, "tokenSecret": secret,
	}, nil))
	var list struct{ Records []struct{ ID int64 } }
	check(t, s.panel.call("GET", "/selectNodeByPage?page=1&size=100", "", nil, &list))
	images := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(image()) }))
	defer images.Close()
	check(t, s.panel.call("POST", "/insertOs", "", map[string]any{
		"name": "Debian 12", "fileName": imageFile, "type": "linux", "osType": "debian", "downType": 0, "cloud": 1, "url": images.URL + "/" + imageFile,
	}, nil))
	for number, node := range list.Records {
		s.nodeIDs = append(s.nodeIDs, node.ID)
		check(t, s.panel.call("POST", "/insertIpPoolByMask", "", map[string]any{
			"poolName": nodeName(number), "nodeId": node.ID, "gateway": fmt.Sprintf("10.20.%d.1", number), "mask": 24, "dns1": "9.9.9.9",
		}, nil))
		check(t, s.panel.call("POST", "/downloadOs", "", map[string]int64{"osId": 1, "nodeId": node.ID}, nil))
	}
	if len(s.nodeIDs) != nodes {
		t.Fatalf("the broker found %d nodes, not %d", len(s.nodeIDs), nodes)
	}
	s.quiet(t, "download the image to all nodes", startPatience)
}

// image is a qcow2 header that says 2 GiB: all that guests in memory need.
func image() []byte {
	content := make([]byte, 4096)
	copy(content, "QFI\xfb\x00\x00\x00\x03")
	binary.BigEndian.PutUint64(content[24:], 2<<30)
	return content
}

// quiet waits until no task is at work.
func (s *scene) quiet(t *testing.T, what string, patience time.Duration) {
	t.Helper()
	eventually(t, what, patience, func() error {
		var active int
		query := "SELECT COUNT(*) FROM tasks WHERE state NOT IN ('done', 'undone', 'stuck')"
		if err := s.database.QueryRow(query).Scan(&active); err != nil {
			return err
		}
		if active > 0 {
			return fmt.Errorf("%d tasks are at work", active)
		}
		return nil
	})
}
