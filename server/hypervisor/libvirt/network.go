package libvirt

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// nicXML is a network device. A name that is a libvirt network's means that; else it is a bridge of the host.
func nicXML(spec hypervisor.NICSpec, isNetwork bool, filter *libvirtxml.DomainInterfaceFilterRef) libvirtxml.DomainInterface {
	out := libvirtxml.DomainInterface{
		MAC:   &libvirtxml.DomainInterfaceMAC{Address: strings.ToLower(spec.MAC)},
		Model: &libvirtxml.DomainInterfaceModel{Type: "virtio"},
	}
	out.FilterRef = filter
	setNIC(&out, spec, isNetwork)
	return out
}

func setNIC(out *libvirtxml.DomainInterface, spec hypervisor.NICSpec, isNetwork bool) {
	if isNetwork {
		out.Source = &libvirtxml.DomainInterfaceSource{Network: &libvirtxml.DomainInterfaceSourceNetwork{Network: spec.Bridge}}
	} else {
		out.Source = &libvirtxml.DomainInterfaceSource{Bridge: &libvirtxml.DomainInterfaceSourceBridge{Bridge: spec.Bridge}}
	}
	out.Bandwidth = bandwidth(spec.RateMbps)
}

// bandwidth in libvirt's unit, which goes to tc as "kbps": 1000 bytes a second.
func bandwidth(megabits int64) *libvirtxml.DomainInterfaceBandwidth {
	if megabits == broker.Unlimited {
		return nil
	}
	average := int(min(megabits, 1<<24) * 125)
	return &libvirtxml.DomainInterfaceBandwidth{
		Inbound:  &libvirtxml.DomainInterfaceBandwidthParams{Average: &average},
		Outbound: &libvirtxml.DomainInterfaceBandwidthParams{Average: &average},
	}
}

func (d *driver) isNetwork(ctx context.Context, name string) (bool, error) {
	_, err := read(ctx, d.client, func(l *rpc) (golibvirt.Network, error) { return l.NetworkLookupByName(name) })
	if broker.Is(err, broker.NotFound) || broker.Is(err, broker.Unsupported) {
		return false, nil
	}
	return err == nil, err
}

// The anti-spoofing filters, one for each set of IP versions that a guest has addresses of: libvirt does not start a guest whose filter
// names a variable that it has no value for, and libvirt's own clean-traffic stops all IPv6. They are made of libvirt's own parts. The
// name carries a version: a guest keeps the filter that it was made with.
const (
	filterPrefix = "gantry-clean-traffic-1-"
	filterHead   = `  <filterref filter='no-mac-spoofing'/>
`
	filterV4 = `  <filterref filter='no-ip-spoofing'/>
  <rule action='accept' direction='out' priority='-650'><mac protocolid='ipv4'/></rule>
  <filterref filter='allow-incoming-ipv4'/>
  <filterref filter='no-arp-spoofing'/>
  <rule action='accept' direction='inout' priority='-500'><mac protocolid='arp'/></rule>
`
	filterV6 = `  <filterref filter='no-ipv6-spoofing'/>
  <rule action='accept' direction='out' priority='-600'><mac protocolid='ipv6'/></rule>
  <filterref filter='allow-incoming-ipv6'/>
`
	filterTail = `  <filterref filter='no-other-l2-traffic'/>
  <filterref filter='qemu-announce-self'/>
`
	// onlyMAC is for guests whose addresses are not known: libvirt would learn the first one it sees and hold the guest to it.
	onlyMAC = "no-mac-spoofing"
)

// filterRef makes sure that the filter exists and refers to it; nil where the operator wants none or the host has no nwfilter.
func (d *driver) filterRef(ctx context.Context, addresses []netip.Addr) (*libvirtxml.DomainInterfaceFilterRef, error) {
	if !d.options.antiSpoofing {
		return nil, nil
	}
	found := func(name string) (bool, error) {
		_, err := read(ctx, d.client, func(l *rpc) (golibvirt.Nwfilter, error) { return l.NwfilterLookupByName(name) })
		if broker.Is(err, broker.NotFound) || broker.Is(err, broker.Unsupported) {
			return false, nil
		}
		return err == nil, err
	}
	if has, err := found(onlyMAC); err != nil || !has {
		return nil, err
	}
	if len(addresses) == 0 {
		return &libvirtxml.DomainInterfaceFilterRef{Filter: onlyMAC}, nil
	}
	name, text := filterFor(addresses)
	has, err := found(name)
	if err != nil {
		return nil, err
	}
	if !has {
		_, err := ask(ctx, d.client, func(l *rpc) (golibvirt.Nwfilter, error) { return l.NwfilterDefineXML(text) })
		if again, lookErr := found(name); err != nil && (lookErr != nil || !again) { // somebody else may have made it just now
			return nil, fmt.Errorf("define the anti-spoofing filter: %w", err)
		}
	}
	ref := &libvirtxml.DomainInterfaceFilterRef{Filter: name}
	for _, address := range addresses {
		variable := "IP"
		if address.Is6() {
			variable = "IPV6"
		}
		ref.Parameters = append(ref.Parameters, libvirtxml.DomainInterfaceFilterParam{Name: variable, Value: address.String()})
	}
	return ref, nil
}

// filterFor names and describes the filter for a guest's addresses.
func filterFor(addresses []netip.Addr) (name, text string) {
	name, text = filterPrefix+"v", filterHead
	if slices.ContainsFunc(addresses, netip.Addr.Is4) {
		name, text = name+"4", text+filterV4
	}
	if slices.ContainsFunc(addresses, netip.Addr.Is6) {
		name, text = name+"6", text+filterV6
	}
	return name, "<filter name='" + name + "' chain='root'>\n" + text + filterTail + "</filter>"
}

// ownAddresses are all addresses that a guest may send from.
func ownAddresses(data *hypervisor.CloudInit) []netip.Addr {
	if data == nil {
		return nil
	}
	var out []netip.Addr
	for _, each := range data.Addresses {
		out = append(out, each.IP.Unmap())
	}
	return out
}
