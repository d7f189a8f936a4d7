package pve

import (
	"strconv"
	"strings"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// upid is a task's id: UPID:node:PID8hex:PSTART8hex:STARTTIME8hex:type:id:user[!token]:
type upid struct {
	text           string
	node, kind, id string
	user           string
	started        time.Time
	pstart         uint64
}

const maxUPID = 512

// parseUPID reads a task id as PVE::Tools::upid_decode does; pstart may have more than 8 digits on nodes that run for long.
func parseUPID(text string) (upid, error) {
	fields := strings.Split(text, ":")
	if len(text) > maxUPID || len(fields) != 9 || fields[0] != "UPID" || fields[8] != "" {
		return upid{}, notAnUPID(text)
	}
	_, pidErr := strconv.ParseUint(fields[2], 16, 64)
	pstart, pstartErr := strconv.ParseUint(fields[3], 16, 64)
	started, startErr := strconv.ParseUint(fields[4], 16, 40)
	out := upid{text: text, node: fields[1], kind: fields[5], id: fields[6], user: fields[7], started: time.Unix(int64(started), 0), pstart: pstart}
	if pidErr != nil || pstartErr != nil || startErr != nil || len(fields[2]) != 8 || len(fields[3]) < 8 || len(fields[4]) != 8 ||
		!nodeName.MatchString(out.node) || out.kind == "" || out.user == "" || strings.ContainsAny(text, " /?#%\\\t\r\n\x00") {
		return upid{}, notAnUPID(text)
	}
	return out, nil
}

func notAnUPID(text string) error {
	return broker.InvalidField("operation", "%q is not a task id of Proxmox VE", bounded(text[:min(len(text), 100)]))
}

func (u upid) operation() hypervisor.Operation { return hypervisor.Operation{ID: u.text, Node: u.node} }

// taskTypes are the types that PVE gives the tasks of each kind of operation. A resume from disk is a start for PVE.
var taskTypes = map[hypervisor.OperationKind][]string{
	hypervisor.OperationCreate:   {"qmcreate"},
	hypervisor.OperationDelete:   {"qmdestroy"},
	hypervisor.OperationStart:    {"qmstart", "qmresume"},
	hypervisor.OperationStop:     {"qmstop", "qmconfig"},
	hypervisor.OperationShutdown: {"qmshutdown"},
	hypervisor.OperationReboot:   {"qmreboot"},
	hypervisor.OperationReset:    {"qmreset"},
	hypervisor.OperationSuspend:  {"qmsuspend"},
	hypervisor.OperationResume:   {"qmresume", "qmstart"},
	hypervisor.OperationResize:   {"resize", "qmresize"},
	hypervisor.OperationConfig:   {"qmconfig"},
	hypervisor.OperationFetch:    {"download"},
}
