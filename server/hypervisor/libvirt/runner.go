package libvirt

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
)

// thisRunner names this process so that another one of the same machine can tell whether it still lives: boot id, process namespace,
// process id and its start time, which a later process of the same id does not share (proc(5), field 22 of /proc/pid/stat).
var thisRunner = sync.OnceValue(func() string {
	where := machineName()
	started := startTime(os.Getpid())
	if where == "" || started == "" {
		return fmt.Sprintf("elsewhere/%d/0", os.Getpid())
	}
	return fmt.Sprintf("%s/%d/%s", where, os.Getpid(), started)
})

func machineName() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(boot)) + "." + namespace
}

func startTime(process int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", process))
	if err != nil {
		return ""
	}
	// The second field is a name in parentheses that may hold anything, parentheses too.
	_, rest, found := strings.Cut(string(text[max(0, bytes.LastIndexByte(text, ')')):]), " ")
	fields := strings.Fields(rest)
	if !found || len(fields) < 20 {
		return ""
	}
	return fields[19]
}

// runnerAlive tells whether a runner lives; here is false for one of another machine, of which nothing can be said.
func runnerAlive(runner string) (alive, here bool) {
	parts := strings.Split(runner, "/")
	if len(parts) != 3 || parts[0] != machineName() || parts[0] == "" {
		return false, false
	}
	var process int
	if _, err := fmt.Sscanf(parts[1], "%d", &process); err != nil {
		return false, false
	}
	return startTime(process) == parts[2], true
}
