package pve

import (
	"context"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

var _ hypervisor.Adopter = (*driver)(nil)

// adoptedMark is a line of a guest's notes (its description) that stands in for the uuid of smbios1. A new smbios1 would only be pending
// while the guest runs and change what it sees of itself at its next start; notes and tags are taken over at once and are none of its
// business (PVE: fast_plug_option). The VMID in it keeps the mark from being valid on a copy.
var adoptedMark = regexp.MustCompile(`(?m)^gantry-owner:([0-9]{3,9}):([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\r?$`)

func markLine(ref hypervisor.GuestRef) string {
	return "gantry-owner:" + strconv.Itoa(ref.ID) + ":" + strings.ToLower(ref.Owner)
}

// owner is the mark of the guest id: that of an adoption, else the uuid of smbios1, lower case; "" when there is none yet.
func (c guestConfig) owner(id int) string {
	for _, found := range adoptedMark.FindAllStringSubmatch(c.text("description"), -1) {
		if found[1] == strconv.Itoa(id) {
			return found[2]
		}
	}
	return c.uuid()
}

// uuid is that of smbios1, lower case.
func (c guestConfig) uuid() string {
	return strings.ToLower(parseProperties(c.text("smbios1")).get("uuid"))
}

// InspectGuest takes two requests.
func (d *driver) InspectGuest(ctx context.Context, ref hypervisor.GuestRef) (hypervisor.ForeignGuest, error) {
	node, config, err := d.readCurrent(ctx, ref)
	if err != nil {
		return hypervisor.ForeignGuest{}, err
	}
	status, err := d.status(ctx, node, ref.ID)
	if err != nil {
		return hypervisor.ForeignGuest{}, err
	}
	lock := config.text("lock")
	found := hypervisor.ForeignGuest{
		Guest: hypervisor.Guest{
			ID: ref.ID, Node: node, Name: config.text("name"), Owner: config.owner(ref.ID), Power: status.power(), Lock: lock,
			Incomplete: lock == "create", Disks: config.disks(), Detached: config.detachedVolumes(),
		},
		Template: config.text("template") == "1", Sockets: config.integer("sockets", 1), Cores: config.integer("cores", 1),
		MemoryMB: config.memoryMB(), OSFamily: familyOf(config.text("ostype")),
	}
	for number := range 32 { // net0 … net31
		nic := parseProperties(config.text("net" + strconv.Itoa(number)))
		if mac := nicMAC(nic); mac != "" {
			found.NICs = append(found.NICs, hypervisor.NICSpec{MAC: mac, Bridge: nic.get("bridge"), RateMbps: broker.Unlimited})
		}
		given := parseProperties(config.text("ipconfig" + strconv.Itoa(number)))
		for _, key := range []string{"ip", "ip6"} {
			if prefix, err := netip.ParsePrefix(given.get(key)); err == nil { // else dhcp or auto
				found.Addresses = append(found.Addresses, prefix)
			}
		}
	}
	return found, nil
}

// memoryMB reads "2048" and "current=2048".
func (c guestConfig) memoryMB() int {
	value := parseProperties(c.text("memory"))
	for _, key := range []string{"", "current"} {
		if number, err := strconv.Atoi(value.get(key)); err == nil {
			return number
		}
	}
	return 512 // PVE's default
}

func familyOf(osType string) string {
	switch {
	case osType == "l24" || osType == "l26":
		return "linux"
	case strings.HasPrefix(osType, "win") || osType == "wxp" || osType == "w2k" || osType == "w2k3" || osType == "w2k8" || osType == "wvista":
		return "windows"
	case osType == "solaris":
		return "solaris"
	}
	return "other"
}

// Adopt takes two requests.
func (d *driver) Adopt(ctx context.Context, ref hypervisor.GuestRef) error {
	node, config, err := d.readCurrent(ctx, ref)
	if err != nil {
		return err
	}
	switch {
	case config.text("lock") != "":
		return broker.Errorf(broker.Locked, "guest %d is locked (%s)", ref.ID, bounded(config.text("lock")))
	case config.text("template") == "1":
		return broker.Errorf(broker.Conflict, "guest %d is a template", ref.ID)
	}
	notes := withoutMark(config.text("description"), ref.ID)
	if config.uuid() != strings.ToLower(ref.Owner) {
		notes = strings.TrimLeft(strings.TrimRight(notes, "\n")+"\n"+markLine(ref), "\n")
	}
	tags := config.tags()
	if !slices.Contains(tags, ownerTag) {
		tags = append(tags, ownerTag)
	}
	return d.annotate(ctx, node, ref.ID, config, notes, tags)
}

// Disown takes two requests. The uuid of smbios1 stays: it is what the guest knows itself by.
func (d *driver) Disown(ctx context.Context, ref hypervisor.GuestRef) error {
	node, config, err := d.readCurrent(ctx, ref)
	if broker.Is(err, broker.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if config.owner(ref.ID) != strings.ToLower(ref.Owner) {
		return broker.Because(broker.Conflict, broker.ReasonForeignGuest, ref.ID)
	}
	tags := slices.DeleteFunc(config.tags(), func(tag string) bool { return tag == ownerTag })
	return d.annotate(ctx, node, ref.ID, config, withoutMark(config.text("description"), ref.ID), tags)
}

// ClaimDisks has nothing to do: PVE deletes what a guest's configuration names and its storages keep under its VMID.
func (d *driver) ClaimDisks(ctx context.Context, ref hypervisor.GuestRef) error {
	_, err := d.own(ctx, ref)
	return err
}

// annotate writes notes and tags, where they differ from what is there.
func (d *driver) annotate(ctx context.Context, node string, id int, config guestConfig, notes string, tags []string) error {
	parameters := map[string]any{}
	var unset []string
	for key, value := range map[string]string{"description": notes, "tags": strings.Join(tags, ";")} {
		switch {
		case value == config.text(key):
		case value == "":
			unset = append(unset, key)
		default:
			parameters[key] = value
		}
	}
	if len(unset) > 0 {
		slices.Sort(unset)
		parameters["delete"] = strings.Join(unset, ",")
	}
	if len(parameters) == 0 {
		return nil
	}
	parameters["digest"] = config.text("digest")
	path, err := guestPath(node, id, "/config")
	if err != nil {
		return err
	}
	var nothing any
	return plain(d.client.proxmox.Put(ctx, path, parameters, &nothing), broker.UnknownOutcome)
}

func withoutMark(notes string, id int) string {
	lines := strings.Split(notes, "\n")
	kept := slices.DeleteFunc(lines, func(line string) bool {
		found := adoptedMark.FindStringSubmatch(line)
		return found != nil && found[1] == strconv.Itoa(id)
	})
	return strings.Join(kept, "\n")
}

func (c guestConfig) tags() []string {
	return strings.FieldsFunc(c.text("tags"), func(r rune) bool { return r == ';' || r == ',' || r == ' ' })
}
