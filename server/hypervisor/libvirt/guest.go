package libvirt

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// libvirt has no VMIDs. Ours is in the domain's name, which libvirt keeps unique. A domain that others made gets an id from its UUID,
// in a range that no guest of ours is made in, so that it can be listed, found and taken over.
const (
	namePrefix  = "gantry-"
	foreignBase = hypervisor.MaxNewGuestID + 1
	foreignSpan = 100_000_000
)

func domainName(id int) string { return namePrefix + strconv.Itoa(id) }

// guestID reads a domain's name; false when Gantry did not give it.
func guestID(name string) (int, bool) {
	digits, ours := strings.CutPrefix(name, namePrefix)
	id, err := strconv.Atoi(digits)
	return id, ours && err == nil && domainName(id) == name && id >= hypervisor.MinGuestID && id < foreignBase
}

// foreignID is where the id of a domain that others made is looked for first.
func foreignID(identity golibvirt.UUID) int {
	sum := sha256.Sum256(identity[:])
	return foreignBase + int(binary.BigEndian.Uint64(sum[:8])%foreignSpan)
}

// identify gives every domain its id. Of two foreign domains that fall on one id the one with the smaller UUID has it and the other
// the next free one: the same for the same set of domains. Whoever changes a guest checks its UUID as well.
func identify(domains []golibvirt.Domain) map[int]golibvirt.Domain {
	out := make(map[int]golibvirt.Domain, len(domains))
	var foreign []golibvirt.Domain
	for _, domain := range domains {
		if id, ours := guestID(domain.Name); ours {
			out[id] = domain
		} else {
			foreign = append(foreign, domain)
		}
	}
	slices.SortFunc(foreign, func(a, b golibvirt.Domain) int { return slices.Compare(a.UUID[:], b.UUID[:]) })
	for _, domain := range foreign {
		id := foreignID(domain.UUID)
		for range foreignSpan {
			if _, taken := out[id]; !taken {
				break
			}
			id = foreignBase + (id-foreignBase+1)%foreignSpan
		}
		out[id] = domain
	}
	return out
}

func ownerOf(domain golibvirt.Domain) string { return uuid.UUID(domain.UUID).String() }

// guest is a domain as read.
type guest struct {
	id     int
	domain golibvirt.Domain
	config libvirtxml.Domain // what it is started with next time
	state  golibvirt.DomainState
	saved  bool // suspended to disk

	mu     sync.Mutex
	record record
}

func (g *guest) owner() string { return ownerOf(g.domain) }

func (g *guest) power() hypervisor.Power {
	power := powerOf(g.state)
	if power == hypervisor.PowerStopped && g.saved {
		return hypervisor.PowerSuspended
	}
	return power
}

func powerOf(state golibvirt.DomainState) hypervisor.Power {
	switch state {
	case golibvirt.DomainRunning, golibvirt.DomainBlocked, golibvirt.DomainShutdown: // on its way down it still runs
		return hypervisor.PowerRunning
	case golibvirt.DomainPaused, golibvirt.DomainPmsuspended:
		return hypervisor.PowerPaused
	case golibvirt.DomainShutoff, golibvirt.DomainCrashed:
		return hypervisor.PowerStopped
	}
	return hypervisor.PowerUnknown
}

func noSuchGuest(id int) error {
	return broker.Errorf(broker.NotFound, "the host has no guest %d", id)
}

// lookup finds a domain in one call, a foreign one in one call that lists all.
func (d *driver) lookup(ctx context.Context, id int) (golibvirt.Domain, error) {
	if id < foreignBase {
		domain, err := read(ctx, d.client, func(l *rpc) (golibvirt.Domain, error) { return l.DomainLookupByName(domainName(id)) })
		if broker.Is(err, broker.NotFound) {
			return domain, noSuchGuest(id)
		}
		return domain, err
	}
	all, err := d.domains(ctx)
	if err != nil {
		return golibvirt.Domain{}, err
	}
	domain, found := identify(all)[id]
	if !found {
		return golibvirt.Domain{}, noSuchGuest(id)
	}
	return domain, nil
}

func (d *driver) domains(ctx context.Context) ([]golibvirt.Domain, error) {
	return read(ctx, d.client, func(l *rpc) ([]golibvirt.Domain, error) {
		all, _, err := l.ConnectListAllDomains(1, golibvirt.ConnectListDomainsPersistent|golibvirt.ConnectListDomainsTransient)
		return all, err
	})
}

// load takes three calls, and one more for a guest that is off.
func (d *driver) load(ctx context.Context, id int) (*guest, error) {
	domain, err := d.lookup(ctx, id)
	if err != nil {
		return nil, err
	}
	g := &guest{id: id, domain: domain}
	if err := d.reload(ctx, g); err != nil {
		if broker.Is(err, broker.NotFound) {
			return nil, noSuchGuest(id)
		}
		return nil, err
	}
	return g, nil
}

func (d *driver) reload(ctx context.Context, g *guest) error {
	text, err := read(ctx, d.client, func(l *rpc) (string, error) { return l.DomainGetXMLDesc(g.domain, golibvirt.DomainXMLInactive) })
	if err != nil {
		return err
	}
	g.config = libvirtxml.Domain{}
	if err := g.config.Unmarshal(text); err != nil {
		return &broker.Error{Kind: broker.Failed, Detail: fmt.Sprintf("the definition of guest %d can't be read", g.id), Err: err}
	}
	g.record = record{}
	if g.config.Metadata != nil {
		parsed, err := parseRecord(g.config.Metadata.XML)
		if err != nil {
			return &broker.Error{Kind: broker.Failed, Detail: fmt.Sprintf("the metadata of guest %d can't be read", g.id), Err: err}
		}
		if parsed != nil {
			g.record = *parsed
		}
	}
	return d.refresh(ctx, g)
}

// refresh reads the power state again.
func (d *driver) refresh(ctx context.Context, g *guest) error {
	var err error
	g.state, err = d.domainState(ctx, g.domain)
	if err != nil {
		return err
	}
	g.saved = false
	if powerOf(g.state) == hypervisor.PowerStopped {
		saved, err := read(ctx, d.client, func(l *rpc) (int32, error) { return l.DomainHasManagedSaveImage(g.domain, 0) })
		if err != nil {
			return err
		}
		g.saved = saved == 1
	}
	return nil
}

func (d *driver) domainState(ctx context.Context, domain golibvirt.Domain) (golibvirt.DomainState, error) {
	return read(ctx, d.client, func(l *rpc) (golibvirt.DomainState, error) {
		state, _, err := l.DomainGetState(domain, 0)
		return golibvirt.DomainState(state), err
	})
}

// owned loads a guest for a change: it must be whole and ours.
func (d *driver) owned(ctx context.Context, ref hypervisor.GuestRef) (*guest, error) {
	g, err := d.load(ctx, ref.ID)
	if err != nil {
		return nil, err
	}
	switch {
	case g.owner() != ref.Owner:
		return nil, broker.Because(broker.Conflict, broker.ReasonForeignGuest, ref.ID)
	case g.record.State == guestCreating:
		return nil, broker.Errorf(broker.Locked, "guest %d is still being created", ref.ID)
	}
	return g, nil
}

// FindGuest takes four calls and one for each disk.
func (d *driver) FindGuest(ctx context.Context, ref hypervisor.GuestRef) (hypervisor.Guest, error) {
	facts, err := d.facts(ctx)
	if err != nil {
		return hypervisor.Guest{}, err
	}
	g, err := d.load(ctx, ref.ID)
	if err != nil {
		return hypervisor.Guest{}, err
	}
	out := hypervisor.Guest{ID: g.id, Node: facts.name, Name: g.name(), Owner: g.owner(), Power: g.power()}
	if out.Lock = g.lock(); out.Lock != "" {
		out.Incomplete = g.record.State == guestCreating
		return out, nil
	}
	used := map[string]bool{}
	for _, disk := range g.disks() {
		volume, err := d.volumeOf(ctx, g, disk.path)
		if err != nil {
			return hypervisor.Guest{}, err
		}
		used[volume] = true
		size, err := d.diskSize(ctx, g, disk)
		if err != nil {
			return hypervisor.Guest{}, err
		}
		out.Disks = append(out.Disks, hypervisor.GuestDisk{Key: disk.key, Volume: volume, SizeBytes: size})
	}
	for _, volume := range g.record.Volumes {
		if !volume.Seed && volume.Path != "" && !used[volume.Name] {
			out.Detached = append(out.Detached, volume.Name)
		}
	}
	return out, nil
}

// lock is PVE's word for what is being done to the guest as a whole.
func (g *guest) lock() string {
	switch g.record.State {
	case guestCreating:
		return "create"
	case guestDeleting:
		return "delete"
	}
	return ""
}

func (g *guest) name() string {
	if g.config.Title != "" {
		return g.config.Title
	}
	return g.config.Name
}

// put writes the record onto the domain, live or not: what it is started with next is where it is read.
func (d *driver) put(ctx context.Context, g *guest) error {
	g.mu.Lock()
	text, err := g.record.plain()
	g.mu.Unlock()
	if err != nil {
		return err
	}
	return change(ctx, d.client, func(l *rpc) error {
		return l.DomainSetMetadata(g.domain, int32(golibvirt.DomainMetadataElement), golibvirt.OptString{text},
			golibvirt.OptString{recordPrefix}, golibvirt.OptString{recordSpace}, golibvirt.DomainAffectConfig)
	})
}

// define writes configuration and record in one step.
func (d *driver) define(ctx context.Context, g *guest) error {
	others := ""
	if g.config.Metadata != nil {
		others = g.config.Metadata.XML
	}
	metadata, err := replaceRecord(others, &g.record)
	if err != nil {
		return err
	}
	g.config.Metadata = &libvirtxml.DomainMetadata{XML: metadata}
	text, err := g.config.Marshal()
	if err != nil {
		return fmt.Errorf("write domain definition: %w", err)
	}
	domain, err := ask(ctx, d.client, func(l *rpc) (golibvirt.Domain, error) { return l.DomainDefineXMLFlags(text, 0) })
	if err == nil {
		g.domain = domain
	}
	return err
}
