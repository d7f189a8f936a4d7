package controlled

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The test binary is also the daemon that is killed, the supervisor that outlives it, and the qm that both call.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "run-operation":
			os.Exit(RunOperation(os.Args[2]))
		case "daemon":
			os.Exit(runTestDaemon(os.Args[2]))
		case "guard-update":
			os.Exit(GuardUpdate(os.Args[2]))
		case "fake-qm":
			os.Exit(fakeQM(os.Args[2], os.Args[3:]))
		}
	}
	os.Exit(m.Run())
}

// runTestDaemon runs the daemon by a JSON configuration and prints its address.
func runTestDaemon(configFile string) int {
	config := DefaultConfig()
	content, err := os.ReadFile(configFile)
	if err == nil {
		err = json.Unmarshal(content, &config)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	switch release := releaseOfProgram(); release {
	case "":
	case "9.0.0": // a release that does not come up
		return 1
	case "9.1.0": // one that never answers
		waitForFile(filepath.Join(config.DataDir, "never"))
		return 1
	default:
		config.Version = release
	}
	server, err := Start(context.Background(), config)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(server.URL(), server.Pin(), server.Secret())
	if err := server.handOver(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// releaseMark ends a copy of the test binary that stands for a release; ELF does not mind.
const releaseMark = "\nrelease "

// releaseOfProgram is the release that this program stands for; "" = none.
func releaseOfProgram() string {
	program, err := os.Open("/proc/self/exe")
	if err != nil {
		return ""
	}
	defer program.Close()
	tail := make([]byte, 64)
	info, err := program.Stat()
	if err != nil {
		return ""
	}
	if _, err := program.ReadAt(tail, info.Size()-int64(len(tail))); err != nil {
		return ""
	}
	_, release, _ := strings.Cut(string(tail), releaseMark)
	return release
}

// Behaviours of fakeQM, one a VMID.
const (
	vmidImports  = 110 // imports, old wording
	vmidNewQM    = 111 // imports, wording of qemu-server 8.2.7 and later
	vmidWaits    = 112 // prints half of the progress, goes on when the file "go" appears
	vmidFails    = 113 // has no configuration
	vmidNoVolume = 114 // ends well without telling the volume
	vmidHangs    = 115 // never ends by itself
)

// fakeQM notes its call in dir/calls and does what a qm with these guests would.
func fakeQM(dir string, arguments []string) int {
	calls, err := os.OpenFile(filepath.Join(dir, "calls"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	fmt.Fprintln(calls, strings.Join(arguments, " "))
	calls.Close()
	verb := arguments[0]
	switch verb {
	case "guest":
		return fakePasswd(dir, arguments[2:])
	case "vncproxy":
		return fakeScreen(dir, arguments[1])
	case "unlock":
		if arguments[1] == fmt.Sprint(vmidFails) {
			fmt.Fprintln(os.Stderr, "Configuration file 'nodes/pve1/qemu-server/113.conf' does not exist")
			return 2
		}
		return 0
	}
	vmid, image, storage := arguments[1], arguments[2], arguments[3]
	fmt.Printf("importing disk '%s' to VM %s ...\n", image, vmid)
	fmt.Printf("transferred 0.0 B of 2.0 GiB (0.00%%)\ntransferred 1.0 GiB of 2.0 GiB (50.00%%)\n")
	volume := fmt.Sprintf("%s:%s/vm-%s-disk-0.qcow2", storage, vmid, vmid)
	switch vmid {
	case fmt.Sprint(vmidFails):
		fmt.Fprintln(os.Stderr, "Configuration file 'nodes/pve1/qemu-server/113.conf' does not exist")
		return 255
	case fmt.Sprint(vmidNoVolume):
		return 0
	case fmt.Sprint(vmidNewQM):
		fmt.Printf("unused3: successfully imported disk '%s'\n", volume)
		return 0
	case fmt.Sprint(vmidHangs):
		waitForFile(filepath.Join(dir, "never"))
	case fmt.Sprint(vmidWaits):
		waitForFile(filepath.Join(dir, "go"))
	}
	fmt.Printf("transferred 2.0 GiB of 2.0 GiB (100.00%%)\nSuccessfully imported disk as 'unused0:%s'\n", volume)
	return 0
}

// fakeScreen notes the password and answers every byte with itself, as a guest's screen would not.
func fakeScreen(dir, vmid string) int {
	if err := os.WriteFile(filepath.Join(dir, "ticket-"+vmid), []byte(os.Getenv("LC_PVE_TICKET")), 0o600); err != nil {
		return 2
	}
	fmt.Print("RFB 003.008\n")
	if vmid == fmt.Sprint(vmidFails) {
		return 255
	}
	_, _ = io.Copy(os.Stdout, os.Stdin)
	return 0
}

func fakePasswd(dir string, arguments []string) int {
	lines := bufio.NewScanner(os.Stdin)
	var got []string
	for lines.Scan() {
		got = append(got, lines.Text())
	}
	if arguments[0] == fmt.Sprint(vmidFails) {
		fmt.Fprintf(os.Stderr, "QEMU guest agent is not running (%s)\n", got[0])
		return 255
	}
	content := strings.Join(append(arguments, got...), "|")
	if err := os.WriteFile(filepath.Join(dir, "passwd"), []byte(content), 0o600); err != nil {
		return 2
	}
	return 0
}

// waitForFile gives up after a minute, so that a broken test leaves no process behind.
func waitForFile(path string) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		if exists(path) {
			return
		}
	}
}
