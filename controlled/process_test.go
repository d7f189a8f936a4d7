package controlled

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// processesOf finds the supervisor of an operation's folder and the fake qm with a folder by their arguments. Both
// folders are this test's own.
func processesOf(t *testing.T, operation, qmDir string) (supervisor, command *os.Process) {
	t.Helper()
	entries, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		content, err := os.ReadFile(entry)
		if err != nil {
			continue // ended meanwhile
		}
		arguments := strings.Split(string(content), "\x00")
		if len(arguments) < 3 {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(entry)))
		if err != nil {
			t.Fatal(err)
		}
		process, err := os.FindProcess(pid)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case arguments[1] == "run-operation" && arguments[2] == operation:
			supervisor = process
		case arguments[1] == "fake-qm" && arguments[2] == qmDir:
			command = process
		}
	}
	if supervisor == nil || command == nil {
		t.Fatalf("found supervisor %v and qm %v", supervisor, command)
	}
	return supervisor, command
}

func kill(t *testing.T, process *os.Process) {
	t.Helper()
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the killed process is gone", func() bool {
		state, err := os.ReadFile("/proc/" + strconv.Itoa(process.Pid) + "/stat")
		return err != nil || strings.Contains(string(state), ") Z ")
	})
}
