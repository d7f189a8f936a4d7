package lab_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"gantry/lab"
	"gantry/lab/machine/memory"
)

// block is one request of a transcript with what a real node answered.
type block struct {
	Label, Section, Method, Path, Who, Reason string
	Params                                    json.RawMessage
	ParamsText                                *string `json:"params_text"`
	Status                                    int
	Headers                                   string
	Body                                      any
	BodyText                                  string `json:"body_text"`
	Task                                      *struct {
		Exit string `json:"exitstatus"`
		Log  []string
	}
	NoTask bool `json:"no_task"`
}

const transcripts = "../../shared/pve/transcripts"

func readBlocks(t *testing.T, version, file string) []block {
	t.Helper()
	source, err := os.Open(filepath.Join(transcripts, version, file+".jsonl"))
	if os.IsNotExist(err) {
		t.Skipf("no transcripts of a real node at %s", transcripts)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	var blocks []block
	lines := bufio.NewScanner(source)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var one block
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, one)
	}
	return blocks
}

// replay holds what a run learns: our task ids for the recorded ones, tickets, the last task.
type replay struct {
	*client
	lab      *lab.Lab
	tokens   map[string]string
	upids    map[string]string
	ticket   string
	csrf     string
	version  string
	replayed int
	all      int
}

// TestTranscriptsOfRealNodes sends what was sent to real nodes and compares what comes back.
func TestTranscriptsOfRealNodes(t *testing.T) {
	for _, version := range []string{"8.4", "9.2"} {
		t.Run(version, func(t *testing.T) {
			run := newReplay(t, version)
			run.standGuests()
			for _, file := range []string{"access-and-parameters", "lifecycle", "locks-and-errors"} {
				run.play(t, file)
			}
			last := run
			if version == "8.4" { // the last file of 8.4 was recorded on a fresh node
				last = newReplay(t, version)
				last.replayed, last.all = run.replayed, run.all
				last.standTemplate()
			}
			last.play(t, "guests-and-console")
			t.Logf("%d of %d blocks replayed and equal", last.replayed, last.all)
			if last.replayed*10 < last.all*9 {
				t.Errorf("only %d of %d blocks were replayed: more than 90 %% are wanted", last.replayed, last.all)
			}
		})
	}
}

func newReplay(t *testing.T, version string) *replay {
	// The replay leaves out the time between the recorded requests, so that cleanups would meet restarted guests.
	running := startLab(t, lab.Config{Version: version[:1], TimeScale: 0.25, NoCleanupLock: true, NodeCPUs: 2, RootPassword: "rootpassword",
		Backend: memory.New(goldenGuests()),
		Users:   []lab.User{{ID: "admin@pve", Password: "adminpassword", Role: "Administrator"}, {ID: "limited@pve", Password: "limitedpassword"}},
		Tokens:  []lab.Token{{User: "admin@pve", Name: "broker"}, {User: "limited@pve", Name: "lim", Separated: true}}})
	c := newClient(t, running)
	run := &replay{client: c, lab: running, tokens: map[string]string{"root": c.token}, upids: map[string]string{}, version: version}
	for who, token := range map[string][2]string{"admin": {"admin@pve", "broker"}, "lim": {"limited@pve", "lim"}} {
		secret, err := running.Token(token[0], token[1])
		if err != nil {
			t.Fatal(err)
		}
		run.tokens[who] = token[0] + "!" + token[1] + "=" + secret
	}
	c.ok("PUT", "/access/users/admin@pve", "comment", "lab admin")
	return run
}

func (r *replay) play(t *testing.T, file string) {
	for i, want := range readBlocks(t, r.version, file) {
		r.all++
		if reason, skipped := notReplayed(r.version, want); skipped {
			t.Logf("not replayed: %s [%s]: %s", file, want.Label, reason)
			continue
		}
		r.arrange(want)
		problem := r.send(want)
		deadline := time.Now().Add(10 * time.Second)
		for problem != "" && want.Method == "GET" && waits(want) && time.Now().Before(deadline) {
			time.Sleep(20 * time.Millisecond) // between polls; nothing is asserted on time
			problem = r.send(want)
		}
		if problem != "" {
			t.Errorf("%s:%d [%s] %s %s %s as %s\n%s", file, i+1, want.Label, want.Method, want.Path, want.Params, want.Who, problem)
			continue
		}
		r.replayed++
	}
}

// waits tells which blocks look at something that takes its time: a task that ends, the status daemon's round, a guest agent.
func waits(want block) bool {
	return strings.Contains(want.Path, "/tasks") || strings.Contains(want.Path, "/status/current") || strings.Contains(want.Path, "/exec-status")
}

// send carries one block out and says what differs.
func (r *replay) send(want block) string {
	header := http.Header{}
	caller := r.as(r.tokens[want.Who])
	if want.Section == "AUTH" || want.Who == "" {
		r.authenticate(want, header)
		if want.Who == "" {
			caller = r.as("")
		}
	}
	path := r.translate(want.Path)
	body := r.body(want, header)
	target := "/api2/json" + path
	switch want.Label {
	case "api2 extjs", "extjs error", "extjs param error":
		target = "/api2/extjs" + path
	}
	if body != "" && (want.Method == "GET" || want.Method == "DELETE") && want.ParamsText == nil && string(want.Params) != "{}" {
		target += "?" + body
		body = ""
	}
	got, err := caller.try(want.Method, target, body, header)
	if err != nil {
		return err.Error()
	}
	return r.compare(want, got)
}

func (r *replay) compare(want block, got reply) string {
	r.learn(want, got)
	if got.Status != want.Status || got.Reason != strings.TrimSpace(want.Reason) {
		return fmt.Sprintf("status: got %d %s %v\nwant %d %s", got.Status, got.Reason, got.Errors, want.Status, want.Reason)
	}
	if problem := compareBody(want, got); problem != "" {
		return problem
	}
	if want.Task != nil {
		upid, _ := got.Data.(string)
		return compareTask(want, r.wait(upid), r.log(upid))
	}
	return ""
}

// learn remembers task ids and tickets.
func (r *replay) learn(want block, got reply) {
	if recorded := upidOf(want.Body, want.BodyText); recorded != "" {
		if upid := upidOf(got.Data, got.Body); upid != "" {
			r.upids[recorded] = upid
		}
	}
	if data, ok := got.Data.(map[string]any); ok && data["ticket"] != nil && data["CSRFPreventionToken"] != nil {
		r.ticket, _ = data["ticket"].(string)
		r.csrf, _ = data["CSRFPreventionToken"].(string)
	}
}

var anyUPID = regexp.MustCompile(`UPID:[^"]+?:[^":]*:[^":]+:[^":]+:[^":]+:[^":]*:[^":]+:`)

func upidOf(body any, text string) string {
	if wrapped, ok := body.(map[string]any); ok {
		body = wrapped["data"]
	}
	if upid, ok := body.(string); ok && strings.HasPrefix(upid, "UPID:") {
		return upid
	}
	if body == nil {
		return anyUPID.FindString(text)
	}
	return ""
}

// translate puts our task ids into a recorded path.
func (r *replay) translate(path string) string {
	for recorded, ours := range r.upids {
		path = strings.ReplaceAll(path, recorded, ours)
		path = strings.ReplaceAll(path, url.QueryEscape(recorded), url.QueryEscape(ours))
	}
	return path
}

func (r *replay) body(want block, header http.Header) string {
	if want.ParamsText != nil {
		switch want.Label {
		case "text body":
			header.Set("Content-Type", "text/plain")
		case "json invalid":
			header.Set("Content-Type", "application/json")
		case "query+body POST":
			header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return *want.ParamsText
	}
	if want.Label == "600K body" {
		return strings.Repeat("a", 600<<10)
	}
	if strings.Contains(want.Label, "json") && want.Params != nil {
		header.Set("Content-Type", "application/json")
		return string(want.Params)
	}
	var params map[string]any
	if json.Unmarshal(want.Params, &params) != nil || len(params) == 0 {
		return ""
	}
	form := url.Values{}
	for name, value := range params {
		values, list := value.([]any)
		if !list {
			values = []any{value}
		}
		for _, one := range values {
			form.Add(name, r.secret(name, fmt.Sprint(one)))
		}
	}
	header.Set("Content-Type", "application/x-www-form-urlencoded")
	return form.Encode()
}

// secret replaces the placeholders of the transcripts.
func (r *replay) secret(name, value string) string {
	switch {
	case value == "<root-password>":
		return "rootpassword"
	case value == "<admin-password>":
		return "adminpassword"
	case name == "password" && strings.HasPrefix(value, "PVE:"):
		return r.ticket
	case name == "expire" && value != "0" && len(value) > 5: // a moment just after the recording
		return fmt.Sprint(time.Now().Add(-2 * time.Second).Unix())
	}
	return value
}

// authenticate sets the header that a label of section AUTH stands for.
func (r *replay) authenticate(want block, header http.Header) {
	token := map[string]string{"token wrong secret": "root@pam!lab=00000000-0000-0000-0000-000000000000",
		"token unknown": "root@pam!nope=x", "token malformed": "foo", "token unknown user": "joe@pve!x=y"}[want.Label]
	switch want.Label {
	case "token wrong secret", "token unknown", "token malformed", "token unknown user":
		header.Set("Authorization", "PVEAPIToken="+token)
	case "authz other scheme":
		header.Set("Authorization", "Bearer x")
	case "use expired":
		secret, err := r.lab.Token("admin@pve", "exp2")
		if err == nil {
			header.Set("Authorization", "PVEAPIToken=admin@pve!exp2="+secret)
		}
	case "ticket in Authorization":
		header.Set("Authorization", "PVEAuthCookie="+url.QueryEscape(r.ticket))
	case "cookie unescaped":
		header.Set("Cookie", "PVEAuthCookie="+r.ticket)
	case "cookie GET", "cookie POST no csrf", "cookie POST bad csrf", "cookie POST csrf", "cookie DELETE csrf":
		header.Set("Cookie", "PVEAuthCookie="+url.QueryEscape(r.ticket))
		if strings.HasSuffix(want.Label, " csrf") && !strings.Contains(want.Label, "no csrf") {
			header.Set("CSRFPreventionToken", r.csrf)
		}
		if strings.Contains(want.Label, "bad csrf") {
			header.Set("CSRFPreventionToken", "6B01F360:bad")
		}
	}
}
