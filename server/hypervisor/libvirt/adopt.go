package libvirt

import (
	"context"
	"net"
	"strings"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

var _ hypervisor.Adopter = (*driver)(nil)

// InspectGuest takes as many calls as FindGuest.
func (d *driver) InspectGuest(ctx context.Context, ref hypervisor.GuestRef) (hypervisor.ForeignGuest, error) {
	found, err := d.FindGuest(ctx, ref)
	if err != nil {
		return hypervisor.ForeignGuest{}, err
	}
	g, err := d.load(ctx, ref.ID)
	if err != nil {
		return hypervisor.ForeignGuest{}, err
	}
	out := hypervisor.ForeignGuest{Guest: found, MemoryMB: int(memoryBytes(g) >> 20), OSFamily: "linux"}
	out.Sockets, out.Cores = topology(&g.config)
	if clock := g.config.Clock; clock != nil && clock.Offset == "localtime" { // which only Windows wants
		out.OSFamily = "windows"
	}
	if g.config.Devices == nil {
		return out, nil
	}
	for i := range g.config.Devices.Interfaces {
		if nic, is := foreignNIC(&g.config.Devices.Interfaces[i]); is {
			out.NICs = append(out.NICs, nic)
		}
	}
	return out, nil
}

func foreignNIC(description *libvirtxml.DomainInterface) (hypervisor.NICSpec, bool) {
	if description.MAC == nil || description.Source == nil {
		return hypervisor.NICSpec{}, false
	}
	if _, err := net.ParseMAC(description.MAC.Address); err != nil {
		return hypervisor.NICSpec{}, false
	}
	nic := hypervisor.NICSpec{MAC: description.MAC.Address, RateMbps: broker.Unlimited}
	switch {
	case description.Source.Network != nil:
		nic.Bridge = description.Source.Network.Network
	case description.Source.Bridge != nil:
		nic.Bridge = description.Source.Bridge.Bridge
	}
	return nic, true
}

// Adopt gives the domain a record. Its UUID, which libvirt keeps unique on the host, is the mark; another one would change the guest.
func (d *driver) Adopt(ctx context.Context, ref hypervisor.GuestRef) error {
	g, err := d.load(ctx, ref.ID)
	if err != nil {
		return err
	}
	if g.owner() != strings.ToLower(ref.Owner) {
		return broker.Errorf(broker.Conflict, "guest %d is known by its UUID %s, which can't be changed", ref.ID, g.owner())
	}
	if lock := g.lock(); lock != "" {
		return broker.Errorf(broker.Locked, "guest %d is locked (%s)", ref.ID, lock)
	}
	persistent, err := read(ctx, d.client, func(l *rpc) (int32, error) { return l.DomainIsPersistent(g.domain) })
	if err != nil {
		return err
	}
	if persistent == 0 {
		return broker.Errorf(broker.Conflict, "guest %d is transient: it would be gone when it stops", ref.ID)
	}
	if g.recorded() {
		return nil
	}
	return d.put(ctx, g)
}

// recorded tells whether the domain has Gantry's element.
func (g *guest) recorded() bool {
	if g.config.Metadata == nil {
		return false
	}
	start, end, err := findRecord(g.config.Metadata.XML)
	return err == nil && start != end
}

// Disown takes Gantry's element off the domain: which volumes were made for it is forgotten with that.
func (d *driver) Disown(ctx context.Context, ref hypervisor.GuestRef) error {
	g, err := d.load(ctx, ref.ID)
	if broker.Is(err, broker.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case g.owner() != strings.ToLower(ref.Owner):
		return broker.Because(broker.Conflict, broker.ReasonForeignGuest, ref.ID)
	case g.lock() != "":
		return broker.Errorf(broker.Locked, "guest %d is locked (%s)", ref.ID, g.lock())
	case !g.recorded():
		return nil
	}
	return change(ctx, d.client, func(l *rpc) error {
		return l.DomainSetMetadata(g.domain, int32(golibvirt.DomainMetadataElement), golibvirt.OptString{}, golibvirt.OptString{},
			golibvirt.OptString{recordSpace}, golibvirt.DomainAffectConfig)
	})
}

// ClaimDisks writes the volumes of the guest's disks into its record, which is what DeleteGuest goes by.
func (d *driver) ClaimDisks(ctx context.Context, ref hypervisor.GuestRef) error {
	g, err := d.owned(ctx, ref)
	if err != nil {
		return err
	}
	claimed := false
	for _, disk := range g.disks() {
		volume, err := d.volumeOf(ctx, g, disk.path)
		if err != nil {
			return err
		}
		if hypervisor.CheckVolume(volume) != nil {
			return broker.Errorf(broker.Conflict, "disk %s of guest %d is in no storage pool: remove it by hand", disk.key, ref.ID)
		}
		if g.record.volume(volume) != nil {
			continue
		}
		if err := d.usedAlone(ctx, g, disk); err != nil {
			return err
		}
		g.record.Volumes = append(g.record.Volumes, recordVolume{Name: volume, Path: disk.path, Claimed: true})
		claimed = true
	}
	if !claimed {
		return nil
	}
	return d.put(ctx, g)
}

// usedAlone refuses a disk that another domain of the host has, too. It takes a call for each domain.
func (d *driver) usedAlone(ctx context.Context, g *guest, disk attached) error {
	domains, err := d.domains(ctx)
	if err != nil {
		return err
	}
	for _, domain := range domains {
		if domain.UUID == g.domain.UUID {
			continue
		}
		other := &guest{domain: domain}
		err := d.reload(ctx, other)
		if broker.Is(err, broker.NotFound) {
			continue // gone meanwhile
		}
		if err != nil {
			return err
		}
		for _, each := range other.disks() {
			if each.path == disk.path {
				return broker.Errorf(broker.Conflict, "disk %s of guest %d is also one of domain %.100q", disk.key, g.id, domain.Name)
			}
		}
	}
	return nil
}
