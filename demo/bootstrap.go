package demo

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"gantry/internal/libvirthost"
)

// The demo is set up through the public API alone, as an operator and a billing system would do it.

// kept is what a demo remembers in its data directory, so that a second start finds everything again.
type kept struct {
	ServerPort, LabPort, LabControlPort, VNCProxyPort, ControlledPort int
	LabTokenSecret, LabControlToken, ProxySecret                      string
	AdminPath, AdminUser, AdminPassword                               string
	AppID, AppKey                                                     string
	NodeID, ImageID, PoolID                                           int64
	// Hypervisor is what the state is of; "" = pve.
	Hypervisor Hypervisor
	// Network is the guests' subnet; Bridge the host's bridge that carries it, "" = QEMU's user-mode network.
	Network, Bridge string
}

// panel gives a client with a fresh admin token.
func (d *demo) panel(ctx context.Context) (*client, error) {
	var token string
	body := map[string]string{"username": d.kept.AdminUser, "password": d.kept.AdminPassword}
	if err := d.api.call(ctx, http.MethodPost, "/"+d.kept.AdminPath+"/loginDo", body, &token); err != nil {
		return nil, err
	}
	return d.api.with(token), nil
}

// billing gives a client with the demo's API key.
func (d *demo) billing() *client {
	return d.api.with("Basic " + base64.StdEncoding.EncodeToString([]byte(d.kept.AppID+":"+d.kept.AppKey)))
}

// bootstrap adds what is missing: API key, node, addresses, image, download.
func (d *demo) bootstrap(ctx context.Context) error {
	panel, err := d.panel(ctx)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		what string
		done bool
		do   func(context.Context, *client) error
	}{
		{"make an API key", d.kept.AppID != "", d.addKey},
		{"add the node", d.kept.NodeID != 0, d.addNode},
		{"add addresses", d.kept.PoolID != 0, d.addPool},
		{"add the image", d.kept.ImageID != 0, d.addImage},
	} {
		if step.done {
			continue
		}
		if err := step.do(ctx, panel); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		if err := d.save(); err != nil {
			return err
		}
	}
	if err := d.download(ctx, panel); err != nil {
		return fmt.Errorf("download the image to the node: %w", err)
	}
	return nil
}

func (d *demo) addKey(ctx context.Context, panel *client) error {
	var key struct {
		AppID  string `json:"appid"`
		AppKey string `json:"appkey"`
	}
	if err := panel.call(ctx, http.MethodPost, "/"+d.kept.AdminPath+"/insertApiKey", map[string]string{"info": "demo"}, &key); err != nil {
		return err
	}
	d.kept.AppID, d.kept.AppKey = key.AppID, key.AppKey
	return nil
}

// page is the part of an AMS list that the demo reads.
type page[Row any] struct {
	Records []Row `json:"records"`
}

// nodeRequest is what insertNodeMaster gets.
func (d *demo) nodeRequest() (map[string]any, error) {
	if d.config.Hypervisor == Libvirt {
		return map[string]any{
			"nodeType": "libvirt", "name": "Demo",
			// The demo's image comes from this machine.
			"options": map[string]any{"transport": "unix", "socket": libvirthost.Socket, "localDownloads": true},
		}, nil
	}
	daemonSecret, err := d.daemonSecret()
	return map[string]any{
		"name": "Demo", "host": "127.0.0.1", "port": d.kept.LabPort, "nodeName": nodeName(0),
		"tokenId": "root@pam!lab", "tokenSecret": d.kept.LabTokenSecret,
		"controllerUrl": d.controlledURL(), "controllerSecret": daemonSecret,
	}, err
}

func (d *demo) addNode(ctx context.Context, panel *client) error {
	body, err := d.nodeRequest()
	if err != nil {
		return err
	}
	if err := panel.call(ctx, http.MethodPost, "/"+d.kept.AdminPath+"/insertNodeMaster", body, nil); err != nil {
		return err
	}
	var nodes page[struct {
		ID       int64  `json:"id"`
		NodeName string `json:"nodeName"`
	}]
	if err := panel.call(ctx, http.MethodGet, "/"+d.kept.AdminPath+"/selectNodeByPage?page=1&size=100", nil, &nodes); err != nil {
		return err
	}
	for _, node := range nodes.Records {
		if node.NodeName == nodeName(0) || d.config.Hypervisor == Libvirt {
			d.kept.NodeID = node.ID
			return nil
		}
	}
	return fmt.Errorf("the node is not in the list")
}

func (d *demo) addPool(ctx context.Context, panel *client) error {
	network, err := netip.ParsePrefix(d.kept.Network)
	if err != nil {
		return err
	}
	body := map[string]any{
		"poolName": "Demo", "nodeId": d.kept.NodeID, "gateway": network.Masked().Addr().Next().String(), "mask": network.Bits(),
		"dns1": "1.1.1.1", "dns2": "8.8.8.8",
	}
	if err := panel.call(ctx, http.MethodPost, "/"+d.kept.AdminPath+"/insertIpPoolByMask", body, nil); err != nil {
		return err
	}
	var pools page[struct {
		ID int64 `json:"id"`
	}]
	if err := panel.call(ctx, http.MethodGet, "/"+d.kept.AdminPath+"/selectIpPoolList?page=1&size=100", nil, &pools); err != nil {
		return err
	}
	if len(pools.Records) == 0 {
		return fmt.Errorf("the pool is not in the list")
	}
	d.kept.PoolID = pools.Records[0].ID
	return nil
}

func (d *demo) addImage(ctx context.Context, panel *client) error {
	checksum, err := fileChecksum(d.image)
	if err != nil {
		return err
	}
	body := map[string]any{
		"name": "Gantry-Demo-Linux", "fileName": imageFileName, "type": "linux", "osType": "other", "arch": "x86_64",
		"downType": 0, "url": d.imageURL(), "checksum": checksum, "cloud": 1, "agent": 1,
	}
	if err := panel.call(ctx, http.MethodPost, "/"+d.kept.AdminPath+"/insertOs", body, nil); err != nil {
		return err
	}
	d.kept.ImageID, err = d.imageRow(ctx, panel, func(imageRow) bool { return true })
	return err
}

type imageRow struct {
	ID         int64  `json:"id"`
	FileName   string `json:"fileName"`
	NodeStatus map[string]struct {
		NodeID int64 `json:"nodeId"`
		Status int   `json:"status"`
	} `json:"nodeStatus"`
}

// imageRow finds the demo's image in the list if it fits.
func (d *demo) imageRow(ctx context.Context, panel *client, fits func(imageRow) bool) (int64, error) {
	var images page[imageRow]
	if err := panel.call(ctx, http.MethodGet, "/"+d.kept.AdminPath+"/selectOsByPage?page=1&size=100", nil, &images); err != nil {
		return 0, err
	}
	for _, image := range images.Records {
		if image.FileName == imageFileName && fits(image) {
			return image.ID, nil
		}
	}
	return 0, fmt.Errorf("the image is not in the list as it should be")
}

// imageReady is the AMS nodeStatus of an image that is on the node.
const imageReady = 2

func (d *demo) download(ctx context.Context, panel *client) error {
	onNode := func(ctx context.Context) error {
		_, err := d.imageRow(ctx, panel, func(image imageRow) bool {
			for _, state := range image.NodeStatus {
				if state.NodeID == d.kept.NodeID && state.Status == imageReady {
					return true
				}
			}
			return false
		})
		return err
	}
	if onNode(ctx) == nil {
		return nil
	}
	body := map[string]int64{"osId": d.kept.ImageID, "nodeId": d.kept.NodeID}
	if err := panel.call(ctx, http.MethodPost, "/"+d.kept.AdminPath+"/downloadOs", body, nil); err != nil {
		return err
	}
	return d.children.until(ctx, "the image on the node", 2*time.Minute, onNode)
}

// machineInfo is the part of getVmInfo that the demo reads.
type machineInfo struct {
	VMHost struct {
		ID     int64    `json:"id"`
		VMID   int      `json:"vmid"`
		Status int      `json:"status"`
		IPList []string `json:"ipList"`
	} `json:"vmhost"`
}

// AMS statuses of a VM.
const (
	vmRunning = 0
	vmStopped = 1
)

// order places the demo's one order, or finds it again: the idempotency key makes it one machine over all starts.
func (d *demo) order(ctx context.Context) (*demoVM, error) {
	billing := d.billing()
	var ordered struct {
		HostID int64 `json:"hostid"`
		VMID   int   `json:"vmid"`
		TaskID int64 `json:"taskId"`
	}
	body := map[string]any{
		"nodeid": d.kept.NodeID, "hostname": "demo-vm", "os": imageFileName, "cores": 1, "memory": 256, "systemDiskSize": 1,
		"storage": "auto", "username": "root", "password": "gantry-demo", "onBoot": 1,
	}
	if d.config.Hypervisor == Libvirt {
		body["bridge"] = d.kept.Bridge
	}
	ordering := *billing
	ordering.header = billing.header.Clone()
	ordering.header.Set("Idempotency-Key", "gantry-demo")
	if err := ordering.call(ctx, http.MethodPost, d.billingPath("cerateVM"), body, &ordered); err != nil {
		return nil, err
	}
	if err := d.await(ctx, billing, ordered.TaskID); err != nil {
		return nil, err
	}
	var info machineInfo
	running := func(ctx context.Context) error {
		if err := billing.call(ctx, http.MethodGet, d.billingPath(fmt.Sprintf("getVmInfo?hostId=%d", ordered.HostID)), nil, &info); err != nil {
			return err
		}
		switch info.VMHost.Status {
		case vmRunning:
			return nil
		case vmStopped: // an earlier demo was ended: its guests were, too
			_ = billing.call(ctx, http.MethodPut, d.billingPath(fmt.Sprintf("power/%d/start", ordered.HostID)), nil, nil)
		}
		return fmt.Errorf("the machine has status %d", info.VMHost.Status)
	}
	if err := d.children.until(ctx, "the demo machine", 5*time.Minute, running); err != nil {
		return nil, err
	}
	machine := &demoVM{HostID: ordered.HostID, VMID: ordered.VMID}
	if len(info.VMHost.IPList) > 0 {
		machine.IP = info.VMHost.IPList[0]
	}
	var err error
	machine.Console, err = d.console(ctx, billing, ordered.HostID)
	return machine, err
}

// billingPath is a call of the billing API for the demo's hypervisor.
func (d *demo) billingPath(call string) string {
	return "/api/v1/" + string(d.config.Hypervisor) + "/" + call
}

// await waits for a task's end; one that did not end well is an error with its own words.
func (d *demo) await(ctx context.Context, billing *client, id int64) error {
	var task struct {
		State string `json:"state"`
		Error string `json:"error"`
	}
	ended := func(ctx context.Context) error {
		if err := billing.call(ctx, http.MethodGet, d.billingPath(fmt.Sprintf("getTask?id=%d", id)), nil, &task); err != nil {
			return err
		}
		switch task.State {
		case "done", "undone", "stuck":
			return nil
		}
		return fmt.Errorf("task %d is %s", id, task.State)
	}
	if err := d.children.until(ctx, "the order", 5*time.Minute, ended); err != nil {
		return err
	}
	if task.State != "done" {
		return fmt.Errorf("task %d was %s: %s", id, task.State, task.Error)
	}
	return nil
}

func (d *demo) console(ctx context.Context, billing *client, hostID int64) (string, error) {
	var links page[map[string]string]
	if err := billing.call(ctx, http.MethodGet, d.billingPath(fmt.Sprintf("getVnc?hostId=%d", hostID)), nil, &links); err != nil {
		return "", err
	}
	for _, record := range links.Records {
		for _, link := range record {
			return link, nil
		}
	}
	return "", fmt.Errorf("getVnc gave no link")
}
