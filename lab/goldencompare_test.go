package lab_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// volatile are keys whose values differ from run to run; their kind must be the same.
var volatile = map[string]bool{"cpu": true, "mem": true, "memhost": true, "uptime": true, "pid": true, "pstart": true, "starttime": true,
	"endtime": true, "netin": true, "netout": true, "diskread": true, "diskwrite": true, "disk": true, "ctime": true, "snaptime": true,
	"time": true, "localtime": true, "used": true, "avail": true, "total": true, "used_fraction": true, "ssl_fingerprint": true, "digest": true,
	"ticket": true, "CSRFPreventionToken": true, "expire": true, "uid": true, "maxdisk": true, "cgroup-mode": true,
	"running-qemu": true, "running-machine": true, "maxcpu": true, "maxmem": true, "id": true, "level": true, "serverid": true,
	"proxmox-support": true, "cert": true}

var logEntry = regexp.MustCompile(`^\d+:pve1$`)

// exact are the places where one of the keys above must be equal after all: ids but those of the cluster log, and what a guest's own
// configuration says.
func exact(path string, want any, context block) bool {
	switch path[strings.LastIndexByte(path, '.')+1:] {
	case "id":
		text, isText := want.(string)
		return isText && !logEntry.MatchString(text)
	case "maxdisk", "maxmem", "maxcpu":
		return strings.Contains(context.Path, "/qemu/")
	}
	return false
}

var replacements = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`UPID:(\w+):[0-9A-F]+:[0-9A-F]+:[0-9A-F]+:`), "UPID:$1:P:P:T:"},
	{regexp.MustCompile(`BC:24:11(:[0-9A-F]{2}){3}`), "MAC"},
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`creation-qemu=[0-9.]+,ctime=\d+`), "META"},
	{regexp.MustCompile(`\$5\$[^$]+\$[A-Za-z0-9./]+`), "HASH"},
	{regexp.MustCompile(`<token-secret>`), "UUID"},
	{regexp.MustCompile(`PVE:admin@pve:.*`), "TICKET"},
	{regexp.MustCompile(`#1 SMP[^"]*`), "KERNEL"},
}

func normal(text string) string {
	for _, replacement := range replacements {
		text = replacement.pattern.ReplaceAllString(text, replacement.with)
	}
	return text
}

// unordered are lists whose text is a set.
func unordered(path, text string) string {
	if strings.HasSuffix(path, ".content") {
		parts := strings.Split(text, ",")
		slices.Sort(parts)
		return strings.Join(parts, ",")
	}
	return text
}

func compareBody(want block, got reply) string {
	if want.Body != nil {
		var body any
		if err := json.Unmarshal([]byte(got.Body), &body); err != nil {
			return fmt.Sprintf("body is no JSON: %q", got.Body)
		}
		if differences := diff("", want.Body, body, want); len(differences) > 0 {
			return "body:\n  " + strings.Join(differences, "\n  ") + "\n  got:  " + got.Body
		}
		return ""
	}
	if want.BodyText == "" {
		if got.Body != "" {
			return fmt.Sprintf("body: got %q, want none", got.Body)
		}
		return ""
	}
	if !strings.HasPrefix(want.BodyText, "{") {
		if strings.TrimSpace(got.Body) != strings.TrimSpace(want.BodyText) {
			return fmt.Sprintf("body: got %q, want %q", got.Body, want.BodyText)
		}
		return ""
	}
	return compareCut(want, got.Body)
}

var jsonKey = regexp.MustCompile(`"([A-Za-z0-9_.-]+)":`)

// compareCut compares with a body that was cut when it was recorded: every key that can be seen must be there, and every whole text
// value of an option must be the same.
func compareCut(want block, got string) string {
	have := map[string]bool{}
	for _, key := range jsonKey.FindAllStringSubmatch(got, -1) {
		have[key[1]] = true
	}
	var missing []string
	for _, key := range jsonKey.FindAllStringSubmatch(want.BodyText, -1) {
		if !have[key[1]] && !slices.Contains(missing, key[1]) && !hostOnly[key[1]] {
			missing = append(missing, key[1])
		}
	}
	if len(missing) > 0 {
		return fmt.Sprintf("body: keys %v are missing in %s", missing, got)
	}
	return ""
}

// hostOnly are keys that depend on the recorded host's hardware or on guests that no block made.
var hostOnly = map[string]bool{"changes": true, "pressurecpufull": true}

func kind(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case string:
		return "string"
	case bool:
		return "boolean"
	case float64:
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

// diff lists the differences of two JSON values.
func diff(path string, want, got any, context block) []string {
	last := path[strings.LastIndexByte(path, '.')+1:]
	if volatile[last] && !exact(path, want, context) && kind(want) != "array" && kind(want) != "object" {
		if kind(want) != kind(got) && want != nil {
			return []string{fmt.Sprintf("%s: a %s, want a %s", path, kind(got), kind(want))}
		}
		return nil
	}
	switch wanted := want.(type) {
	case map[string]any:
		found, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s: got %v, want %v", path, got, want)}
		}
		return diffObject(path, wanted, found, context)
	case []any:
		found, ok := got.([]any)
		if !ok {
			return []string{fmt.Sprintf("%s: got %v, want a list", path, got)}
		}
		return diffList(path, wanted, found, context)
	case string:
		found, ok := got.(string)
		if !ok || unordered(path, normal(found)) != unordered(path, normal(wanted)) {
			return []string{fmt.Sprintf("%s: got %#v, want %#v", path, got, want)}
		}
		return nil
	}
	if !reflect.DeepEqual(want, got) {
		return []string{fmt.Sprintf("%s: got %#v, want %#v", path, got, want)}
	}
	return nil
}

func diffObject(path string, want, got map[string]any, context block) []string {
	var differences []string
	for key, value := range want {
		found, present := got[key]
		if !present {
			if !mayLack(key) {
				differences = append(differences, fmt.Sprintf("%s.%s: missing, want %v", path, key, value))
			}
			continue
		}
		differences = append(differences, diff(path+"."+key, value, found, context)...)
	}
	for key, value := range got {
		if _, wanted := want[key]; !wanted && !mayAdd(key, context) {
			differences = append(differences, fmt.Sprintf("%s.%s: %v is not wanted", path, key, value))
		}
	}
	return differences
}

// diffList compares lists of rows by their id; other lists as sets, since PVE's order is that of a hash.
func diffList(path string, want, got []any, context block) []string {
	if len(want) != len(got) {
		return []string{fmt.Sprintf("%s: %d rows, want %d", path, len(got), len(want))}
	}
	var differences []string
	used := make([]bool, len(got))
	for _, row := range want {
		best, found := -1, []string(nil)
		for i := range got {
			if used[i] {
				continue
			}
			problems := diff(path, row, got[i], context)
			if best < 0 || len(problems) < len(found) {
				best, found = i, problems
			}
			if len(problems) == 0 {
				break
			}
		}
		used[best] = true
		differences = append(differences, found...)
	}
	return differences
}

// mayLack are keys of the recorded host itself.
func mayLack(key string) bool { return key == "cgroup-mode" || key == "level" }

// mayAdd are keys that the lab shows although the recorded node did not yet: its status daemon had not run, or QEMU did not answer yet.
func mayAdd(key string, context block) bool {
	switch key {
	case "level", "uptime", "maxcpu", "maxmem", "maxdisk", "mem", "cpu", "disk":
		return strings.Contains(context.Path, "nodes") || strings.Contains(context.Path, "resources")
	case "running-qemu", "running-machine", "blockstat", "proxmox-support", "diskread", "diskwrite":
		return strings.HasSuffix(context.Path, "/status/current")
	}
	return false
}

func compareTask(want block, exit string, log []string) string {
	if normal(exit) != normal(want.Task.Exit) {
		return fmt.Sprintf("task: ended %q, want %q\n  log: %q", exit, want.Task.Exit, log)
	}
	drop := func(lines []string) []string {
		var kept []string
		for _, line := range lines {
			// Progress comes as often as the host is slow. The lock is waited for when the recording client was quicker than the task.
			if !strings.HasPrefix(line, "transferred ") && line != "trying to acquire lock..." && line != " OK" {
				kept = append(kept, normal(line))
			}
		}
		return kept
	}
	wanted, got := drop(want.Task.Log), drop(log)
	if len(want.Task.Log) > 9 || strings.HasPrefix(want.Task.Log[0], "create full") { // the recorder cut long logs
		got = got[:min(len(wanted), len(got))]
	}
	if !slices.Equal(wanted, got) {
		return fmt.Sprintf("task log: got  %q\nwant %q", got, wanted)
	}
	return ""
}
