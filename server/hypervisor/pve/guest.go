package pve

import (
	"context"
	"net/url"
	"strconv"
	"strings"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// owned is a guest that was read and whose owner mark is ours.
type owned struct {
	id     int
	node   string
	config guestConfig
}

func (g owned) path(rest string) string {
	return "/nodes/" + g.node + "/qemu/" + strconv.Itoa(g.id) + rest
}

// digest goes with a change, so that PVE refuses it when somebody changed the configuration after we read it.
func (g owned) digest() string { return g.config.text("digest") }

// atGuest runs read on the node where the guest is: ref.Node first, and when it is not there or the node is down, where
// /cluster/resources says. (Its list of guests is live, only their states are sampled.)
func (d *driver) atGuest(ctx context.Context, ref hypervisor.GuestRef, read func(node string) error) error {
	if ref.ID < hypervisor.MinGuestID || ref.ID > hypervisor.MaxGuestID {
		return broker.InvalidField("id", "must be between %d and %d", hypervisor.MinGuestID, hypervisor.MaxGuestID)
	}
	var first error
	if nodeName.MatchString(ref.Node) {
		if first = read(ref.Node); !broker.Is(first, broker.NotFound) && !broker.Is(first, broker.Unreachable) {
			return first
		}
	}
	node, err := d.locate(ctx, ref.ID)
	if broker.Is(err, broker.Unreachable) && first != nil {
		return first
	}
	if err != nil {
		return err
	}
	if node == ref.Node {
		return first
	}
	return read(node)
}

// locate finds the node of a guest. NotFound when the cluster has no such virtual machine.
func (d *driver) locate(ctx context.Context, id int) (string, error) {
	rows, err := d.resources(ctx, "vm")
	if err != nil {
		return "", err
	}
	for i := range rows {
		if rows[i].VMID == id && rows[i].Type == "qemu" {
			return rows[i].Node, nil
		}
	}
	return "", broker.Because(broker.NotFound, broker.ReasonVMNotFound, id)
}

// readConfig reads a guest's configuration, with pending changes applied as PVE shows it by default.
func (d *driver) readConfig(ctx context.Context, ref hypervisor.GuestRef) (string, guestConfig, error) {
	return d.readConfigAs(ctx, ref, nil)
}

// readCurrent reads what is in force. A change of a guest that is off is pending only when the node died in the middle of it: what it
// was to do with disks was not done then.
func (d *driver) readCurrent(ctx context.Context, ref hypervisor.GuestRef) (string, guestConfig, error) {
	return d.readConfigAs(ctx, ref, url.Values{"current": {"1"}})
}

func (d *driver) readConfigAs(ctx context.Context, ref hypervisor.GuestRef, query url.Values) (string, guestConfig, error) {
	var found string
	var config guestConfig
	err := d.atGuest(ctx, ref, func(node string) error {
		path, err := guestPath(node, ref.ID, "/config")
		if err != nil {
			return err
		}
		found, config = node, nil
		return d.client.get(ctx, path, query, &config)
	})
	return found, config, err
}

// own reads a guest and checks its owner mark: to be called once by everything that changes a guest, before anything else.
func (d *driver) own(ctx context.Context, ref hypervisor.GuestRef) (owned, error) {
	node, config, err := d.readConfig(ctx, ref)
	return ours(ref, node, config, err)
}

// ownCurrent is own for what is about disks: it goes by what is in force.
func (d *driver) ownCurrent(ctx context.Context, ref hypervisor.GuestRef) (owned, error) {
	node, config, err := d.readCurrent(ctx, ref)
	return ours(ref, node, config, err)
}

func ours(ref hypervisor.GuestRef, node string, config guestConfig, err error) (owned, error) {
	if err != nil {
		return owned{}, err
	}
	mark := config.owner(ref.ID)
	switch {
	case mark == "" && config.text("lock") == "create":
		return owned{}, broker.Errorf(broker.Locked, "guest %d is being created", ref.ID)
	case mark == "" || mark != strings.ToLower(ref.Owner):
		return owned{}, broker.Because(broker.Conflict, broker.ReasonForeignGuest, ref.ID)
	}
	return owned{id: ref.ID, node: node, config: config}, nil
}

func (d *driver) status(ctx context.Context, node string, id int) (guestStatus, error) {
	var status guestStatus
	path, err := guestPath(node, id, "/status/current")
	if err != nil {
		return status, err
	}
	return status, d.client.get(ctx, path, nil, &status)
}

// ownOff is ownCurrent, and the guest is off.
func (d *driver) ownOff(ctx context.Context, ref hypervisor.GuestRef) (owned, error) {
	guest, err := d.ownCurrent(ctx, ref)
	if err != nil {
		return owned{}, err
	}
	status, err := d.status(ctx, guest.node, guest.id)
	if err != nil {
		return owned{}, err
	}
	if power := status.power(); power != hypervisor.PowerStopped {
		return owned{}, broker.Errorf(broker.Conflict, "guest %d is %s: stop it first", ref.ID, power)
	}
	return guest, nil
}

// FindGuest takes two requests: the configuration (owner, disks, lock) and the state.
func (d *driver) FindGuest(ctx context.Context, ref hypervisor.GuestRef) (hypervisor.Guest, error) {
	node, config, err := d.readCurrent(ctx, ref)
	if err != nil {
		return hypervisor.Guest{}, err
	}
	status, err := d.status(ctx, node, ref.ID)
	if err != nil {
		return hypervisor.Guest{}, err
	}
	lock := config.text("lock")
	return hypervisor.Guest{
		ID: ref.ID, Node: node, Name: config.text("name"), Owner: config.owner(ref.ID), Power: status.power(), Lock: lock,
		// While it creates, PVE keeps a configuration that holds nothing but the lock; all else is written when the disks are made.
		Incomplete: lock == "create",
		Disks:      config.disks(), Detached: config.detachedVolumes(),
	}, nil
}

// DeleteGuest takes two requests. PVE itself refuses to delete a running guest.
func (d *driver) DeleteGuest(ctx context.Context, ref hypervisor.GuestRef) (hypervisor.Operation, error) {
	guest, err := d.own(ctx, ref)
	if err != nil {
		return hypervisor.Operation{}, err
	}
	if guest.config.text("lock") == "suspended" { // which PVE would delete with its saved state
		return hypervisor.Operation{}, broker.Errorf(broker.Conflict, "guest %d is suspended: stop it first", ref.ID)
	}
	return d.client.begin(ctx, "DELETE", guest.path("?"+deleteEverything().Encode()), nil)
}

// deleteEverything removes the guest from backup jobs, HA and firewall, too, and volumes that no configuration names.
func deleteEverything() url.Values {
	return url.Values{"purge": {"1"}, "destroy-unreferenced-disks": {"1"}}
}

// ClearStaleCreate needs root@pam with a password while the lock is there: PVE lets nobody else ignore a lock, not even root's API
// tokens. Once it was removed on the node, everybody who may delete guests may delete what is left.
func (d *driver) ClearStaleCreate(ctx context.Context, ref hypervisor.GuestRef, proof hypervisor.Operation) (hypervisor.Operation, error) {
	node, config, err := d.readConfig(ctx, ref)
	if err != nil {
		return hypervisor.Operation{}, err
	}
	locked := config.text("lock") == "create"
	if !locked && !config.empty() || config.owner(ref.ID) != "" && config.owner(ref.ID) != strings.ToLower(ref.Owner) {
		return hypervisor.Operation{}, broker.Errorf(broker.Conflict, "guest %d is not an interrupted create", ref.ID)
	}
	parameters := deleteEverything()
	if locked {
		if d.client.credential.identity() != "root@pam" {
			return hypervisor.Operation{}, &broker.Error{
				Kind: broker.Unsupported, Reason: broker.ReasonUnsupported,
				Detail: "only root@pam with a password may remove what an interrupted create left behind",
			}
		}
		parameters.Set("skiplock", "1")
	}
	if err := d.provenDead(ctx, ref, proof); err != nil {
		return hypervisor.Operation{}, err
	}
	path, err := guestPath(node, ref.ID, "?"+parameters.Encode())
	if err != nil {
		return hypervisor.Operation{}, err
	}
	return d.client.begin(ctx, "DELETE", path, nil)
}

// provenDead checks that proof is the create of the guest, and has failed or is no longer known.
func (d *driver) provenDead(ctx context.Context, ref hypervisor.GuestRef, proof hypervisor.Operation) error {
	task, err := parseUPID(proof.ID)
	if err != nil || task.kind != "qmcreate" || task.id != strconv.Itoa(ref.ID) || task.user != d.client.credential.identity() {
		return broker.Errorf(broker.Conflict, "operation %q did not create guest %d", bounded(proof.ID), ref.ID)
	}
	state, err := d.OperationState(ctx, proof)
	switch {
	case broker.Is(err, broker.NotFound):
		return nil
	case err != nil:
		return err
	case !state.Finished:
		return broker.Errorf(broker.Conflict, "the create of guest %d still runs", ref.ID)
	case state.Err == nil:
		return broker.Errorf(broker.Conflict, "the create of guest %d ended well", ref.ID)
	}
	return nil
}
