// Package worker runs the node's tasks: each has a UPID, a log and an exit status that survive a restart of the lab.
package worker

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// UPID is PVE's unique process id of a task: UPID:node:pid:pstart:starttime:type:id:user:, numbers in hex.
type UPID struct {
	Node      string
	PID       int64
	PStart    int64
	StartTime int64 // seconds since 1970
	Type      string
	ID        string // often a VMID; may be empty
	User      string // user@realm or user@realm!token
}

// ErrBadUPID is the answer to text that is no UPID. Its text is PVE's.
var ErrBadUPID = errors.New("unable to parse worker upid")

var upidText = regexp.MustCompile(`^UPID:([a-zA-Z0-9](?:[a-zA-Z0-9\-]*[a-zA-Z0-9])?):([0-9A-Fa-f]{8}):([0-9A-Fa-f]{8,9}):([0-9A-Fa-f]{8}):([^:\s/]+):([^:\s/]*):([^:\s/]+):$`)

// ParseUPID reads a UPID, as PVE::Tools::upid_decode does. It returns ErrBadUPID for anything else.
func ParseUPID(text string) (UPID, error) {
	parts := upidText.FindStringSubmatch(text)
	if parts == nil {
		return UPID{}, ErrBadUPID
	}
	id := UPID{Node: parts[1], Type: parts[5], ID: parts[6], User: parts[7]}
	for i, target := range []*int64{&id.PID, &id.PStart, &id.StartTime} {
		number, err := strconv.ParseInt(parts[2+i], 16, 64)
		if err != nil {
			return UPID{}, ErrBadUPID
		}
		*target = number
	}
	return id, nil
}

func (u UPID) String() string {
	return fmt.Sprintf("UPID:%s:%08X:%08X:%08X:%s:%s:%s:", u.Node, u.PID, u.PStart, u.StartTime, u.Type, u.ID, u.User)
}

// Owner splits the user into user@realm and the token's name, which is empty for a plain user.
func (u UPID) Owner() (user, token string) {
	user, token, _ = strings.Cut(u.User, "!")
	return user, token
}
