package pve

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/server/broker"
)

// block is one request to a real PVE and what it answered.
type block struct {
	Label, Section, Method, Path, Reason string
	Status                               int
	Body                                 json.RawMessage
	Task                                 *struct {
		ExitStatus string `json:"exitstatus"`
	}
}

// known are the kinds of failures that the driver acts on; anything else may be failed, invalid or unsupported.
var known = []struct {
	words string
	kind  broker.Kind
}{
	{"VM is locked", broker.Locked}, {"can't lock file", broker.Locked}, {"already exists", broker.Exists}, {".conf' does not exist", broker.NotFound},
	{"no such task", broker.NotFound}, {"storage 'nope' does not exist", broker.NotFound}, {"hostname lookup", broker.NotFound},
	{"failed to stat", broker.NotFound}, {"destroy failed", broker.Conflict}, {"not running", broker.Conflict}, {"Permission check failed (/", broker.HypervisorAuth},
	{"Authentication failed", broker.HypervisorAuth}, {"invalid PVE ticket", broker.HypervisorAuth}, {"Only root", broker.HypervisorAuth},
	{"Broken pipe", broker.UnknownOutcome}, {"detected modified configuration", broker.Locked}, {"'Content-Type 'text/plain' not implemented", broker.Failed},
	{"No route to host", broker.Unreachable}, {"Connection refused", broker.Unreachable}, {"not implemented", broker.Unsupported},
	{"checksum mismatch (file change", broker.Locked},
}

// TestTranscripts classifies every failure that real PVE 8.4 and 9.2 were seen to answer.
func TestTranscripts(t *testing.T) {
	for _, release := range []string{"8.4", "9.2"} {
		files, err := filepath.Glob(filepath.Join("..", "..", "..", "..", "shared", "pve", "transcripts", release, "*.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) == 0 {
			t.Skip("../shared is not there: what real nodes answered is not replayed")
		}
		failures := 0
		for _, file := range files {
			for _, each := range blocks(t, file) {
				if each.Status >= 300 {
					failures++
					checkFailure(t, release, each, each.Reason+" "+string(each.Body), failedReply(each.Method, each.Status, each.Reason, each.Body))
				}
				if each.Task != nil && each.Task.ExitStatus != "" && each.Task.ExitStatus != "OK" && !strings.HasPrefix(each.Task.ExitStatus, "WARNINGS") {
					failures++
					checkFailure(t, release, each, each.Task.ExitStatus, classify(bounded(each.Task.ExitStatus)))
				}
			}
		}
		if failures < 100 {
			t.Errorf("%s has only %d failures", release, failures)
		}
	}
}

func blocks(t *testing.T, path string) []block {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var out []block
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var each block
		if err := json.Unmarshal(lines.Bytes(), &each); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		out = append(out, each)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func checkFailure(t *testing.T, release string, each block, words string, err error) {
	t.Helper()
	kind := broker.KindOf(err)
	if kind == broker.Internal || broker.DetailOf(err) == "internal error" {
		t.Errorf("%s [%s] %s: %v", release, each.Label, words, err)
	}
	for _, fact := range known {
		if strings.Contains(words, fact.words) {
			if kind != fact.kind {
				t.Errorf("%s [%s] %s is %s, want %s", release, each.Label, words, kind, fact.kind)
			}
			return
		}
	}
	switch kind {
	case broker.Failed, broker.Invalid, broker.Unsupported, broker.HypervisorAuth, broker.Conflict, broker.NotFound:
	default:
		t.Errorf("%s [%s] %s is unexpectedly %s", release, each.Label, words, kind)
	}
}
