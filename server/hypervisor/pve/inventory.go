package pve

import (
	"context"
	"io"
	"net/http"

	"github.com/goccy/go-json"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// resource is a row of GET /cluster/resources: a node, a guest, a storage or an SDN zone, with the fields that we need. Numbers
// are read as floats because PVE makes floats of some as it pleases.
type resource struct {
	Type     string  `json:"type"`
	Node     string  `json:"node"`
	Name     string  `json:"name"`
	Status   string  `json:"status"`
	Lock     string  `json:"lock"`
	VMID     int     `json:"vmid"`
	Template float64 `json:"template"`
	CPU      float64 `json:"cpu"`
	MaxCPU   float64 `json:"maxcpu"`
	Mem      float64 `json:"mem"`
	MaxMem   float64 `json:"maxmem"`
	MaxDisk  float64 `json:"maxdisk"`
	Uptime   float64 `json:"uptime"`
	NetIn    float64 `json:"netin"`
	NetOut   float64 `json:"netout"`
	DiskIn   float64 `json:"diskread"`
	DiskOut  float64 `json:"diskwrite"`
}

// resources reads /cluster/resources, of one type or, with "", of all. It goes past go-proxmox, whose three passes over the answer
// take 106 ms and 22 MB for 10,000 guests; one pass of goccy/go-json into the fields above takes a sixth of that.
func (d *driver) resources(ctx context.Context, kind string) ([]resource, error) {
	address := d.client.base + "/cluster/resources"
	if kind != "" {
		address += "?type=" + kind
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, &broker.Error{Kind: broker.Internal, Err: err}
	}
	request.Header.Set("User-Agent", userAgent)
	response, err := d.client.http.Do(request)
	if err != nil {
		return nil, plain(err, broker.Failed)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, plain(err, broker.Unreachable)
	}
	rows, err := decodeResources(body)
	return rows, plain(err, broker.Failed)
}

func decodeResources(body []byte) ([]resource, error) {
	var answer struct {
		Data []resource `json:"data"`
	}
	if err := json.UnmarshalNoEscape(body, &answer); err != nil {
		return nil, err
	}
	return answer.Data, nil
}

// Inventory takes one request. Its states are those of pvestatd, up to 10 s old.
func (d *driver) Inventory(ctx context.Context) (hypervisor.Inventory, error) {
	rows, err := d.resources(ctx, "")
	if err != nil {
		return hypervisor.Inventory{}, err
	}
	out := hypervisor.Inventory{At: d.now(), Guests: make([]hypervisor.GuestSummary, 0, len(rows))}
	for i := range rows {
		switch row := &rows[i]; row.Type {
		case "node":
			out.Nodes = append(out.Nodes, hypervisor.NodeState{
				Name: row.Node, Online: row.Status == "online", CPU: row.CPU, CPUs: int(row.MaxCPU),
				MemoryUsed: int64(row.Mem), MemoryTotal: int64(row.MaxMem), Uptime: int64(row.Uptime),
			})
		case "qemu":
			out.Guests = append(out.Guests, row.summary())
		}
	}
	return out, nil
}

func (r *resource) summary() hypervisor.GuestSummary {
	return hypervisor.GuestSummary{
		ID: r.VMID, Node: r.Node, Name: r.Name, Power: guestStatus{Status: r.Status, Lock: r.Lock}.power(), CPU: r.CPU, CPUs: int(r.MaxCPU),
		MemoryUsed: int64(r.Mem), MemoryTotal: int64(r.MaxMem), DiskTotal: int64(r.MaxDisk), Uptime: int64(r.Uptime),
		NetIn: int64(r.NetIn), NetOut: int64(r.NetOut), DiskRead: int64(r.DiskIn), DiskWrite: int64(r.DiskOut), Template: r.Template == 1, Lock: r.Lock,
	}
}
