package firstlight

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/internal/browsertest"
	"gantry/internal/qemutest"
)

// TestAClusterWithAPasswordWorksLikeOneWithAToken gives the demo's cluster root's password in place of its token: orders and the
// console then go by ticket.
func TestAClusterWithAPasswordWorksLikeOneWithAToken(t *testing.T) {
	demo := startDemo(t, buildGantry(t), t.TempDir(), "--qemu=off", "--order=false")
	var lab struct{ RootPassword string }
	text, err := os.ReadFile(filepath.Join(demo.dataDir, "lab", "lab.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &lab); err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(strings.TrimPrefix(demo.report.Lab, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	demo.panel("POST", "/insertNodeMaster", map[string]any{
		"host": host, "port": port, "username": "root", "realm": "pam", "password": lab.RootPassword, "nodeName": "pve1",
	})
	var nodes struct {
		Records []struct{ Username, Password string }
	}
	read(t, demo.panel("GET", "/selectNodeByPage?page=1&size=10", nil), &nodes)
	if len(nodes.Records) != 1 || nodes.Records[0].Username != "root" || nodes.Records[0].Password != "**********" {
		t.Errorf("the node's record: %+v", nodes.Records)
	}
	config := demo.order(t, map[string]any{"nodeid": demo.report.NodeID, "os": fmt.Sprint(demo.report.OSID), "hostname": "by-ticket"})
	if config["name"] != "by-ticket" {
		t.Errorf("the guest's configuration: %v", config)
	}
	var machines struct {
		Records []struct {
			VMHost struct{ ID int64 }
		}
	}
	read(t, demo.panel("GET", "/getVmByPage?page=1&size=10", nil), &machines)
	var links struct{ Records []map[string]string }
	read(t, demo.billing("GET", fmt.Sprintf("getVnc?hostId=%d", machines.Records[0].VMHost.ID), nil), &links)
	for _, link := range links.Records[0] {
		page := browsertest.Start(t).Open(link, browsertest.Desktop)
		page.Wait(`document.body.dataset.state === "connected"`)
		qemutest.Eventually(t, bootPatience, "a picture on the screen", func() bool { return !browsertest.Blank(page.Screenshot()) })
	}
}
