package pve

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

const taskPath = "GET /nodes/pve1/tasks/"

func taskOf(kind string) hypervisor.Operation {
	return hypervisor.Operation{ID: fmt.Sprintf(testTask, kind), Node: "pve1"}
}

func TestEndsOfTasks(t *testing.T) {
	for _, fact := range []struct {
		kind, exit string
		err        broker.Kind
		says       string
	}{
		{"qmcreate", "OK", "", ""},
		{"qmstart", "VM 100 already running", "", ""},
		{"qmstop", "VM 100 already running", broker.Failed, "already running"},
		{"download", "refusing to override existing file '/var/lib/vz/import/x.qcow2'", "", ""},
		{"download", "checksum mismatch: got 'X' != expect 'Y'", broker.Failed, "checksum mismatch"},
		{"download", "download failed: exit code 8", broker.Failed, "exit code 8"},
		{"qmstart", "VM is locked (backup)", broker.Locked, "backup"},
		{"qmconfig", "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout", broker.Locked, "got timeout"},
		{"qmshutdown", "VM quit/powerdown failed - got timeout", broker.Failed, "powerdown failed"},
		{"qmshutdown", "received interrupt", broker.Failed, "interrupt"},
		{"qmcreate", "unable to create VM 508 - failed to stat '/var/lib/vz/import/none.qcow2'", broker.NotFound, "none.qcow2"},
		{"qmcreate", "unable to create VM 501 - volume 'local:iso/none.iso' does not exist", broker.NotFound, "none.iso"},
		{"qmcreate", "unable to create VM 1 - out of space on thin pool", broker.Exhausted, "thin pool"},
		{"qmdestroy", "Configuration file 'nodes/pve1/qemu-server/100.conf' does not exist", broker.NotFound, "100.conf"},
		{"qmdestroy", "base volume 'local:101/base-101-disk-0.raw' is still in use by linked cloned", broker.Conflict, "linked clone"},
		{"qmstart", "start failed: QEMU exited with code 1", broker.Failed, "code 1 (bridge 'vmbr9' does not exist)"},
		{"qmstart", "unexpected status", broker.UnknownOutcome, "unexpected status"},
		{"qmdestroy", "unable to read tail (got 0 bytes)", broker.UnknownOutcome, "went down"},
	} {
		t.Run(fact.exit, func(t *testing.T) {
			s := serve(t, pages(map[string]string{
				taskPath + taskOf(fact.kind).ID + "/status": data(fmt.Sprintf(`{"status":"stopped","exitstatus":%q}`, fact.exit)),
				taskPath + taskOf(fact.kind).ID + "/log":    data(`[{"n":1,"t":"generating cloud-init ISO"},{"n":2,"t":"bridge 'vmbr9' does not exist"},{"n":3,"t":"TASK ERROR: x"}]`),
			}))
			state, err := s.byToken(t).OperationState(t.Context(), taskOf(fact.kind))
			if err != nil || !state.Finished {
				t.Fatalf("state is %+v, %v", state, err)
			}
			if broker.KindOf(state.Err) != fact.err || fact.err != "" && !strings.Contains(broker.DetailOf(state.Err), fact.says) {
				t.Errorf("ended with %v, want %q with %q", state.Err, fact.err, fact.says)
			}
		})
	}
}

func TestStateThatCantBeReadIsNotAnEnd(t *testing.T) {
	for answer, kind := range map[string]broker.Kind{
		reply("596 Broken pipe", ""):            broker.Unreachable,
		reply("595 No route to host", ""):       broker.Unreachable,
		reply("500 got timeout", ""):            broker.Failed,
		reply("401 Authentication failed!", ""): broker.HypervisorAuth,
		reply("400 Parameter verification failed.", `{"errors":{"upid":"no such task"}}`): broker.NotFound,
		cut: broker.Unreachable,
	} {
		s := serve(t, func(*http.Request) string { return answer })
		state, err := s.byToken(t).OperationState(t.Context(), taskOf("qmcreate"))
		if state.Finished || !broker.Is(err, kind) {
			t.Errorf("%.40q: %+v, %v, want %s", answer, state, err, kind)
		}
	}
	s := serve(t, func(*http.Request) string { return data(`{"status":"running"}`) })
	if _, err := s.byToken(t).OperationState(t.Context(), hypervisor.Operation{ID: "UPID:pve1:0"}); !isField(err, "operation") {
		t.Errorf("a malformed task id: %v", err)
	}
}

func TestWarningsAreNotes(t *testing.T) {
	s := serve(t, pages(map[string]string{
		taskPath + taskOf("qmstart").ID + "/status": data(`{"status":"stopped","exitstatus":"WARNINGS: 2"}`),
		taskPath + taskOf("qmstart").ID + "/log": data(`[{"n":1,"t":"WARN: no physical interface on bridge 'vmbr0'"},{"n":2,"t":"fine"},` +
			`{"n":3,"t":"WARNING: thin pool is full"},{"n":4,"t":"TASK WARNINGS: 2"}]`),
	}))
	state, err := s.byToken(t).OperationState(t.Context(), taskOf("qmstart"))
	want := []string{"no physical interface on bridge 'vmbr0'", "thin pool is full"}
	if err != nil || state.Err != nil || !slices.Equal(state.Warnings, want) {
		t.Errorf("state is %+v, %v", state, err)
	}
}

func TestProgressIsReadFromLogsOfLongTasks(t *testing.T) {
	for _, fact := range []struct {
		line string
		want float64
	}{
		{"transferred 5.2 MiB of 48.0 MiB (10.81%)", 0.1081},
		{"drive-scsi0: transferred 48.0 MiB of 48.0 MiB (100.00%) in 1s, ready", 1},
		{"     0K ........ ........ 43%  880M=0.02s", 0.43},
		{" 98304K ,,,,,,,, ,,,,,,,, ,,,,,,,, 9% 12.1M 4s", 0.09},
		{"  3072K .......... .....                          100%  880M=0.02s", 1},
		{"nothing to see", -1},
		{"777% (999%) ", -1},
	} {
		if got := lastPercent([]string{fact.line}); got != fact.want {
			t.Errorf("%q is %v, want %v", fact.line, got, fact.want)
		}
	}
	if got := lastPercent([]string{"transferred 1 MiB of 2 MiB (50.00%)", "flushing"}); got != 0.5 {
		t.Errorf("the last figure is %v", got)
	}
	id := taskOf("qmcreate").ID
	s := serve(t, pages(map[string]string{
		taskPath + id + "/status": data(`{"status":"running"}`), taskPath + id + "/log": data(`[{"n":1,"t":"transferred 1 MiB of 4 MiB (25.00%)"}]`),
	}))
	task, err := parseUPID(id)
	if err != nil {
		t.Fatal(err)
	}
	for age, want := range map[time.Duration]float64{time.Second: -1, time.Minute: 0.25} {
		settings := s.settings(map[string]string{"tokenId": testToken, "tokenSecret": testSecret})
		settings.Now = func() time.Time { return task.started.Add(age) }
		before := len(s.seen())
		state, err := openRaw(t, settings).OperationState(t.Context(), hypervisor.Operation{ID: id})
		if err != nil || state.Finished || state.Progress != want {
			t.Errorf("after %s: %+v, %v", age, state, err)
		}
		if asked := len(s.seen()) - before; asked == 2 != (want >= 0) {
			t.Errorf("after %s: %d requests", age, asked)
		}
	}
}

// PVE's reboot task ends when the guest went down. The operation has not ended then.
func TestRebootEndsWhenTheGuestRunsAgain(t *testing.T) {
	const stopped, running = `{"status":"stopped"}`, `{"status":"running","qmpstatus":"running"}`
	start := func(pstart, status string) string {
		return fmt.Sprintf(`[{"upid":"UPID:pve1:00000104:%s:6B01F6C6:qmstart:100:root@pam:","status":%q}]`, pstart, status)
	}
	for name, fact := range map[string]struct {
		current, tasks string
		finished       bool
		err            broker.Kind
	}{
		"runs":                          {running, "[]", true, ""},
		"is down":                       {stopped, "[]", false, ""},
		"is being started":              {stopped, start("00045FFF", "RUNNING"), false, ""},
		"did not start":                 {stopped, start("00045FFF", "start failed: QEMU exited with code 1"), true, broker.Failed},
		"did not start at another time": {stopped, start("00000001", "start failed: QEMU exited with code 1"), false, ""},
		"was started and is not up yet": {stopped, start("00045FFF", "OK"), false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, pages(map[string]string{
				taskPath + taskOf("qmreboot").ID + "/status": data(`{"status":"stopped","exitstatus":"OK"}`),
				"GET /nodes/pve1/qemu/100/status/current":    data(fact.current), "GET /nodes/pve1/tasks": data(fact.tasks),
			}))
			state, err := s.byToken(t).OperationState(t.Context(), taskOf("qmreboot"))
			if err != nil || state.Finished != fact.finished || broker.KindOf(state.Err) != fact.err {
				t.Errorf("state is %+v, %v", state, err)
			}
		})
	}
}

func TestOperationsAreFoundAcrossClocks(t *testing.T) {
	const theirStart = 0x6B01F6C6
	row := func(pstart, start, user, status string) string {
		return fmt.Sprintf(`{"upid":"UPID:pve1:00000103:%s:%s:qmcreate:100:%s:","status":%q}`, pstart, start, user, status)
	}
	for name, fact := range map[string]struct {
		rows string
		skew time.Duration // their clock minus ours
		want string        // pstart
	}{
		"newest of ours":       {row("00000003", "6B01F6C6", testToken, "OK") + "," + row("00000002", "6B01F6C6", testToken, "OK"), 0, "00000003"},
		"active come first":    {row("00000002", "6B01F6C6", testToken, "RUNNING") + "," + row("00000003", "6B01F6C7", testToken, "OK"), 0, "00000003"},
		"others' do not count": {row("00000003", "6B01F6C6", "root@pam", "OK") + "," + row("00000002", "6B01F6C6", testToken, "OK"), 0, "00000002"},
		"an hour ahead":        {row("00000003", "6B01F6C6", testToken, "OK"), time.Hour, "00000003"},
		"an hour behind":       {row("00000003", "6B01F6C6", testToken, "OK"), -time.Hour, "00000003"},
		"too old":              {row("00000003", "6B01F600", testToken, "OK"), 0, ""},
		"too old, ahead":       {row("00000003", "6B01F600", testToken, "OK"), time.Hour, ""},
		"garbage":              {`{"upid":"x"},{"upid":null}`, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			theirs := time.Unix(theirStart, 0)
			s := serve(t, func(request *http.Request) string {
				if strings.HasSuffix(request.URL.Path, "/cluster/resources") {
					return data(`[]`)
				}
				if query := request.URL.Query(); query.Get("vmid") != "100" || query.Get("typefilter") != "qmcreate" || query.Get("source") != "all" {
					return reply("400 bad query", "")
				}
				return strings.Replace(data("["+fact.rows+"]"), "\r\n", "\r\nDate: "+theirs.UTC().Format(http.TimeFormat)+"\r\n", 1)
			})
			settings := s.settings(map[string]string{"tokenId": testToken, "tokenSecret": testSecret})
			settings.Now = func() time.Time { return theirs.Add(-fact.skew) }
			since := theirs.Add(-fact.skew)
			operation, err := openRaw(t, settings).FindOperation(t.Context(), testRef, hypervisor.OperationCreate, since)
			if fact.want == "" {
				if !broker.Is(err, broker.NotFound) {
					t.Errorf("found %+v, %v", operation, err)
				}
				return
			}
			if err != nil || !strings.Contains(operation.ID, fact.want) {
				t.Errorf("found %+v, %v, want %s", operation, err, fact.want)
			}
		})
	}
}
