package libvirt

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// libvirt has no tasks that outlive a connection: operations run in this process. What makes their ids hold over restarts is that they
// are put down on the guest (record.Operations) before they begin and when they end; where the runner died in between, the guest tells
// how far it came.

// operationID is "kind:guest:started:nonce", started in microseconds since 1970 as 16 hex digits.
type operationID struct {
	kind    hypervisor.OperationKind
	guest   int
	started time.Time
	text    string
}

var operationPattern = regexp.MustCompile(`^([a-z-]{1,32}):([0-9]{1,9}):([0-9a-f]{16}):[0-9a-f]{16}$`)

func newOperationID(kind hypervisor.OperationKind, guest int, started time.Time) operationID {
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // never fails, see crypto/rand
	return operationID{kind: kind, guest: guest, started: started,
		text: fmt.Sprintf("%s:%d:%016x:%s", kind, guest, started.UnixMicro(), hex.EncodeToString(nonce[:]))}
}

// parseOperationID reads an id back; false when it is none of ours.
func parseOperationID(text string) (operationID, bool) {
	parts := operationPattern.FindStringSubmatch(text)
	if parts == nil {
		return operationID{}, false
	}
	guest, err := strconv.Atoi(parts[2])
	if err != nil {
		return operationID{}, false
	}
	micros, err := strconv.ParseInt(parts[3], 16, 64)
	if err != nil {
		return operationID{}, false
	}
	return operationID{kind: hypervisor.OperationKind(parts[1]), guest: guest, started: time.UnixMicro(micros), text: text}, true
}

// stamp is the part of the id that is its own.
func (o operationID) stamp() string {
	return strings.ReplaceAll(strings.TrimPrefix(o.text, fmt.Sprintf("%s:%d:", o.kind, o.guest)), ":", "-")
}

// OperationState takes no call for an operation of this process, else it looks at the guest.
func (d *driver) OperationState(ctx context.Context, operation hypervisor.Operation) (hypervisor.OperationState, error) {
	if operation.Done() {
		return hypervisor.OperationState{Finished: true, Progress: 1}, nil
	}
	if state, known := d.jobs.state(operation.ID); known {
		return state, nil
	}
	id, ours := parseOperationID(operation.ID)
	if !ours {
		return hypervisor.OperationState{}, unknownOperation(operation.ID)
	}
	if id.kind == hypervisor.OperationFetch {
		return d.fetchState(ctx, id)
	}
	found, err := d.load(ctx, id.guest)
	if broker.Is(err, broker.NotFound) && id.kind == hypervisor.OperationDelete {
		return hypervisor.OperationState{Finished: true, Progress: 1}, nil // the domain goes last
	}
	if broker.Is(err, broker.NotFound) {
		return hypervisor.OperationState{}, unknownOperation(operation.ID)
	}
	if err != nil {
		return hypervisor.OperationState{}, err
	}
	noted := found.record.operation(operation.ID)
	if noted == nil {
		return hypervisor.OperationState{}, unknownOperation(operation.ID)
	}
	return noted.state(d.now()), nil
}

func unknownOperation(id string) error {
	return broker.Errorf(broker.NotFound, "the operation %q is not known", id)
}

// state is how a noted operation stands that is not this driver's.
func (o *recordOperation) state(now time.Time) hypervisor.OperationState {
	switch {
	case o.running(now):
		return hypervisor.OperationState{Progress: -1}
	case o.Runner != "":
		return hypervisor.OperationState{Finished: true, Err: interrupted()}
	case o.Kind != "":
		return hypervisor.OperationState{Finished: true, Err: &broker.Error{Kind: broker.Kind(o.Kind), Detail: o.Detail}}
	}
	return hypervisor.OperationState{Finished: true, Progress: 1}
}

// interrupted: part of it may have been carried out, so whoever goes on has to look first.
func interrupted() *broker.Error {
	return broker.Errorf(broker.UnknownOutcome, "interrupted: the process that did it went away")
}

// running tells whether somebody is still at it: a process of this machine is asked for, one of another is believed for a while.
func (o *recordOperation) running(now time.Time) bool {
	if o.Runner == "" {
		return false
	}
	if alive, here := runnerAlive(o.Runner); here && !alive {
		return false
	}
	return now.Unix() < o.Until
}

// clockTolerance is what FindOperation allows for between two clocks of ours.
const clockTolerance = 2 * time.Second

// FindOperation looks in this process and on the guest.
func (d *driver) FindOperation(ctx context.Context, ref hypervisor.GuestRef, kind hypervisor.OperationKind, since time.Time) (hypervisor.Operation, error) {
	earliest := since.Add(-clockTolerance)
	facts, err := d.facts(ctx)
	if err != nil {
		return hypervisor.Operation{}, err
	}
	newest, found := d.jobs.newest(ref.ID, kind)
	if kind == hypervisor.OperationFetch {
		if ref.Node != "" && ref.Node != facts.name {
			return hypervisor.Operation{}, broker.Because(broker.NotFound, broker.ReasonNodeNotFound, ref.Node)
		}
		fetched, err := d.newestFetch(ctx)
		if err != nil {
			return hypervisor.Operation{}, err
		}
		if fetched != nil && (!found || fetched.started.After(newest.started)) {
			newest, found = *fetched, true
		}
	} else {
		guest, err := d.load(ctx, ref.ID)
		if err != nil && !broker.Is(err, broker.NotFound) {
			return hypervisor.Operation{}, err
		}
		if err == nil {
			for _, noted := range guest.record.Operations {
				if id, ours := parseOperationID(noted.ID); ours && id.kind == kind && (!found || id.started.After(newest.started)) {
					newest, found = id, true
				}
			}
		}
	}
	if !found || newest.started.Before(earliest) {
		return hypervisor.Operation{}, broker.Errorf(broker.NotFound, "no %s of guest %d since %s", kind, ref.ID, since.UTC().Format(time.RFC3339))
	}
	return hypervisor.Operation{ID: newest.text, Node: facts.name}, nil
}
