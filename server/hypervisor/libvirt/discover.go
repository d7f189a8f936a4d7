package libvirt

import (
	"cmp"
	"context"
	"encoding/xml"
	"fmt"
	"slices"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

func versionText(number uint64) string {
	return fmt.Sprintf("%d.%d.%d", number/1_000_000, number/1000%1000, number%1000)
}

func (d *driver) version(ctx context.Context) (string, error) {
	number, err := read(ctx, d.client, (*rpc).ConnectGetLibVersion)
	return versionText(number), err
}

// Discover takes one call for the host, one for each pool, network and interface.
func (d *driver) Discover(ctx context.Context) (hypervisor.Discovery, error) {
	facts, err := d.facts(ctx)
	if err != nil {
		return hypervisor.Discovery{}, err
	}
	version, err := d.version(ctx)
	if err != nil {
		return hypervisor.Discovery{}, err
	}
	info, err := d.nodeInfo(ctx)
	if err != nil {
		return hypervisor.Discovery{}, err
	}
	node := hypervisor.NodeDetail{Name: facts.name, Online: true, CPUs: info.cpus, MemoryBytes: info.memory}
	if node.Storages, err = d.storages(ctx); err != nil {
		return hypervisor.Discovery{}, err
	}
	if node.Bridges, err = d.bridges(ctx); err != nil {
		return hypervisor.Discovery{}, err
	}
	return hypervisor.Discovery{Version: version, Nodes: []hypervisor.NodeDetail{node}}, nil
}

// storages are the pools whose names can be used, with what Gantry can keep in them.
func (d *driver) storages(ctx context.Context) ([]hypervisor.Storage, error) {
	pools, err := d.pools(ctx, 0)
	if err != nil {
		return nil, err
	}
	var out []hypervisor.Storage
	for _, pool := range pools {
		if !poolName.MatchString(pool.Name) {
			continue
		}
		description, err := d.poolXML(ctx, pool)
		if broker.Is(err, broker.NotFound) {
			continue // undefined meanwhile
		}
		if err != nil {
			return nil, err
		}
		type state struct {
			active           bool
			total, available uint64
		}
		now, err := read(ctx, d.client, func(l *rpc) (state, error) {
			active, total, _, available, err := l.StoragePoolGetInfo(pool)
			return state{active == 2, total, available}, err // VIR_STORAGE_POOL_RUNNING
		})
		if err != nil {
			return nil, err
		}
		each := hypervisor.Storage{
			Name: pool.Name, Type: description.Type, Enabled: true, Active: now.active, Shared: description.Type == "netfs",
			Total: int64(now.total), Available: int64(now.available),
		}
		switch {
		case filePools[description.Type]:
			each.Content = []string{"images", "import", "iso"}
		case blockPools[description.Type]:
			each.Content = []string{"images"}
		}
		out = append(out, each)
	}
	slices.SortFunc(out, func(a, b hypervisor.Storage) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// bridges are libvirt's networks by their names, and the host's bridges that belong to none of them. A host whose libvirt has no driver
// for interfaces shows only networks.
func (d *driver) bridges(ctx context.Context) ([]hypervisor.Bridge, error) {
	var out []hypervisor.Bridge
	ofNetworks := map[string]bool{}
	networks, err := read(ctx, d.client, func(l *rpc) ([]golibvirt.Network, error) {
		networks, _, err := l.ConnectListAllNetworks(1, 0)
		return networks, err
	})
	if err != nil && !broker.Is(err, broker.Unsupported) {
		return nil, err
	}
	for _, network := range networks {
		bridge, device, err := d.networkBridge(ctx, network)
		if broker.Is(err, broker.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		ofNetworks[device] = true
		if poolName.MatchString(network.Name) {
			out = append(out, bridge)
		}
	}
	interfaces, err := read(ctx, d.client, func(l *rpc) ([]golibvirt.Interface, error) {
		interfaces, _, err := l.ConnectListAllInterfaces(1, 0)
		return interfaces, err
	})
	if err != nil && !broker.Is(err, broker.Unsupported) {
		return nil, err
	}
	for _, each := range interfaces {
		if ofNetworks[each.Name] || !poolName.MatchString(each.Name) {
			continue
		}
		text, err := read(ctx, d.client, func(l *rpc) (string, error) { return l.InterfaceGetXMLDesc(each, 0) })
		if err != nil {
			continue // gone meanwhile, or of a kind that libvirt can't describe: no bridge that guests could use
		}
		active, err := read(ctx, d.client, func(l *rpc) (int32, error) { return l.InterfaceIsActive(each) })
		if bridge, is := parseBridge(text); is && err == nil {
			bridge.Name, bridge.Active = each.Name, active == 1
			out = append(out, bridge)
		}
	}
	slices.SortFunc(out, func(a, b hypervisor.Bridge) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func (d *driver) networkBridge(ctx context.Context, network golibvirt.Network) (hypervisor.Bridge, string, error) {
	text, err := read(ctx, d.client, func(l *rpc) (string, error) { return l.NetworkGetXMLDesc(network, 0) })
	if err != nil {
		return hypervisor.Bridge{}, "", err
	}
	active, err := read(ctx, d.client, func(l *rpc) (int32, error) { return l.NetworkIsActive(network) })
	if err != nil {
		return hypervisor.Bridge{}, "", err
	}
	var description libvirtxml.Network
	if err := description.Unmarshal(text); err != nil {
		return hypervisor.Bridge{}, "", &broker.Error{Kind: broker.Failed, Detail: fmt.Sprintf("network %s can't be read", network.Name), Err: err}
	}
	out := hypervisor.Bridge{Name: network.Name, Active: active == 1}
	for _, address := range description.IPs {
		if address.Address != "" && address.Prefix > 0 {
			out.CIDR = fmt.Sprintf("%s/%d", address.Address, address.Prefix)
			break
		}
	}
	device := ""
	if description.Bridge != nil {
		device = description.Bridge.Name
	}
	return out, device, nil
}

// parseBridge reads an interface's description; false when it is no bridge.
func parseBridge(text string) (hypervisor.Bridge, bool) {
	var description struct {
		XMLName   xml.Name `xml:"interface"`
		Type      string   `xml:"type,attr"`
		Protocols []struct {
			IPs []struct {
				Address string `xml:"address,attr"`
				Prefix  uint   `xml:"prefix,attr"`
			} `xml:"ip"`
		} `xml:"protocol"`
	}
	if err := xml.Unmarshal([]byte(text), &description); err != nil || description.Type != "bridge" {
		return hypervisor.Bridge{}, false
	}
	var out hypervisor.Bridge
	for _, protocol := range description.Protocols {
		for _, ip := range protocol.IPs {
			if out.CIDR == "" && ip.Address != "" {
				out.CIDR = fmt.Sprintf("%s/%d", ip.Address, ip.Prefix)
			}
		}
	}
	return out, true
}
