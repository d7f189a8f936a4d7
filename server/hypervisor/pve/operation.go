package pve

import (
	"context"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// taskStatus is GET …/tasks/{upid}/status; exitstatus is missing while it runs.
type taskStatus struct {
	Status     string  `json:"status"`
	ExitStatus *string `json:"exitstatus"`
}

// logDelay is how long a task must have run before its log is read for progress: short ones are over by then.
const logDelay = 2 * time.Second

// OperationState takes one request; a second one reads the log of a task that copies or downloads for longer than 2 s, that ended
// with warnings, or that failed to start a guest (whose cause is only there). A reboot that ended takes one or two more.
func (d *driver) OperationState(ctx context.Context, operation hypervisor.Operation) (hypervisor.OperationState, error) {
	if operation.Done() {
		return hypervisor.OperationState{Finished: true, Progress: 1}, nil
	}
	task, err := parseUPID(operation.ID)
	if err != nil {
		return hypervisor.OperationState{}, err
	}
	var status taskStatus
	if err := d.client.get(ctx, task.path("/status"), nil, &status); err != nil {
		return hypervisor.OperationState{}, err
	}
	if status.Status != "stopped" {
		return hypervisor.OperationState{Progress: d.progress(ctx, task)}, nil
	}
	if status.ExitStatus == nil {
		return finished(&broker.Error{Kind: broker.UnknownOutcome, Detail: "the task ended without saying how"}), nil
	}
	return d.ended(ctx, task, *status.ExitStatus)
}

func (u upid) path(rest string) string {
	return "/nodes/" + u.node + "/tasks/" + url.PathEscape(u.text) + rest
}

func finished(err error) hypervisor.OperationState {
	return hypervisor.OperationState{Finished: true, Err: err, Progress: 1}
}

// ended is the state of a task that is over.
func (d *driver) ended(ctx context.Context, task upid, exit string) (hypervisor.OperationState, error) {
	if strings.HasPrefix(exit, "WARNINGS") {
		state := finished(nil)
		if task.kind == "qmreboot" {
			after, err := d.rebooted(ctx, task)
			if err != nil || !after.Finished || after.Err != nil {
				return after, err
			}
		}
		// The task went well: what can't be read of its log does not change that.
		state.Warnings = []string{bounded(exit)}
		if lines, err := d.log(ctx, task); err == nil {
			if warnings := warningLines(lines); len(warnings) > 0 {
				state.Warnings = warnings
			}
		}
		return state, nil
	}
	if exit == "OK" && task.kind == "qmreboot" {
		return d.rebooted(ctx, task)
	}
	if exit == "OK" || wentWellAnyway(task.kind, exit) {
		return finished(nil), nil
	}
	if diedWithItsNode(exit) {
		return finished(&broker.Error{Kind: broker.UnknownOutcome, Detail: "the node went down while it worked: " + bounded(exit)}), nil
	}
	failure := classify(bounded(exit))
	if task.kind == "qmstart" && strings.HasPrefix(exit, "start failed") {
		if lines, err := d.log(ctx, task); err == nil {
			failure = withCause(failure, lines)
		}
	}
	return finished(failure), nil
}

// diedWithItsNode knows what PVE says of a task whose log does not end with a "TASK …" line (PVE::Tools::upid_read_status): its worker
// was killed, mostly because the node lost power. What it did until then is there.
func diedWithItsNode(exit string) bool {
	return exit == "unexpected status" || strings.HasPrefix(exit, "unable to read tail")
}

// wentWellAnyway knows the failures that mean that the wanted state was there already: somebody else was faster.
func wentWellAnyway(kind, exit string) bool {
	switch kind {
	case "qmstart":
		return strings.HasPrefix(exit, "VM ") && strings.HasSuffix(exit, " already running")
	case "download":
		return strings.HasPrefix(exit, "refusing to override existing file")
	}
	return false
}

// rebooted follows a reboot to its end. PVE's task ends when the guest went down; a second or so later qmeventd starts it with a
// qmstart of root@pam that no answer names. So the reboot is finished when the guest runs, or when that start failed. Until then
// it is unfinished, and the caller's deadline bounds the wait.
func (d *driver) rebooted(ctx context.Context, task upid) (hypervisor.OperationState, error) {
	id, err := strconv.Atoi(task.id)
	if err != nil {
		return hypervisor.OperationState{}, notAnUPID(task.text)
	}
	status, err := d.status(ctx, task.node, id)
	if err != nil {
		return hypervisor.OperationState{}, err
	}
	if status.power() == hypervisor.PowerRunning {
		return finished(nil), nil
	}
	rows, err := d.tasks(ctx, task.node, url.Values{"vmid": {task.id}, "typefilter": {"qmstart"}})
	if err != nil {
		return hypervisor.OperationState{}, err
	}
	for _, row := range rows {
		if row.after(task) && row.Status != "" && row.Status != "RUNNING" && row.Status != "OK" && !strings.HasPrefix(row.Status, "WARNINGS") {
			return finished(classify("the guest went down and did not start again: " + bounded(row.Status))), nil
		}
	}
	return hypervisor.OperationState{Progress: -1}, nil
}

type logLine struct {
	Number int    `json:"n"`
	Text   string `json:"t"`
}

// log is a task's log, at most its first 2,000 lines: one line a percent is the most that PVE writes.
func (d *driver) log(ctx context.Context, task upid) ([]string, error) {
	var raw json.RawMessage
	if err := d.client.get(ctx, task.path("/log"), url.Values{"limit": {"2000"}}, &raw); err != nil {
		return nil, err
	}
	return logLines(raw)
}

// logLines reads the rows of a log; a log that can't be opened is one object instead of a list.
func logLines(raw json.RawMessage) ([]string, error) {
	var rows []logLine
	if err := json.Unmarshal(raw, &rows); err != nil {
		return nil, &broker.Error{Kind: broker.Failed, Detail: "the task's log can't be read", Err: err}
	}
	lines := make([]string, 0, len(rows))
	for _, row := range rows {
		lines = append(lines, bounded(row.Text))
	}
	return lines, nil
}

const maxNotes = 20

// warningLines are the lines of warnings: PVE prefixes them with "WARN: ", programs that it runs with "WARNING: " or "warning: ".
func warningLines(lines []string) []string {
	var out []string
	for _, line := range lines {
		for _, prefix := range []string{"WARN: ", "WARNING: ", "warning: "} {
			if text, is := strings.CutPrefix(line, prefix); is && len(out) < maxNotes {
				out = append(out, text)
			}
		}
	}
	return out
}

// withCause adds the lines before "TASK ERROR" to a failure that only says that QEMU did not start.
func withCause(failure error, lines []string) error {
	known, is := failure.(*broker.Error)
	if !is {
		return failure
	}
	var causes []string
	for _, line := range lines {
		if line != "" && !strings.HasPrefix(line, "TASK ") && !strings.HasPrefix(line, "generating cloud-init") {
			causes = append(causes, line)
		}
	}
	if len(causes) == 0 {
		return failure
	}
	explained := *known
	explained.Detail = bounded(known.Detail + " (" + strings.Join(causes[max(0, len(causes)-3):], "; ") + ")")
	return &explained
}

// progressTasks are the types whose log tells how far they are.
var progressTasks = []string{"qmcreate", "qmconfig", "qmclone", "qmmove", "download"}

// percent finds "transferred 5.2 MiB of 48.0 MiB (10.81%)" of qemu-img and "  2000K ........ .. 43%  880M" of wget.
var percent = regexp.MustCompile(`\(([0-9]{1,3}(?:\.[0-9]+)?)%\)|[. ]([0-9]{1,3})% `)

// progress is how far a running task is by its log, -1 when that is not known. What can't be read is not known, either.
func (d *driver) progress(ctx context.Context, task upid) float64 {
	age := d.client.onTheirClock(d.now()).Sub(task.started)
	if age < logDelay || !slices.Contains(progressTasks, task.kind) {
		return -1
	}
	lines, err := d.log(ctx, task)
	if err != nil {
		return -1
	}
	return lastPercent(lines)
}

func lastPercent(lines []string) float64 {
	for _, line := range slices.Backward(lines) {
		found := percent.FindAllStringSubmatch(line+" ", -1)
		if len(found) == 0 {
			continue
		}
		last := found[len(found)-1]
		value, err := strconv.ParseFloat(orElse(last[1], last[2]), 64)
		if err == nil && value <= 100 {
			return value / 100
		}
	}
	return -1
}

// finish waits for an operation, for calls that the contract has without one. The bounds are ctx and five minutes.
func (d *driver) finish(ctx context.Context, operation hypervisor.Operation) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	pause := 10 * time.Millisecond
	for {
		state, err := d.OperationState(ctx, operation)
		if err != nil {
			return err
		}
		if state.Finished {
			return state.Err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return &broker.Error{Kind: broker.UnknownOutcome, Detail: "the task did not end in time", Err: context.Cause(ctx)}
		}
		pause = min(2*pause, 2*time.Second)
	}
}
