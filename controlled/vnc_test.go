package controlled

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	wire "gantry/internal/controlledclient"
)

// freePort is a port that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// screens is a node that may write token files in a folder, and an order that it takes.
func screens(t *testing.T) (*node, wire.VNC) {
	t.Helper()
	n := newNode(t)
	folder := filepath.Join(filepath.Dir(n.images), "vnc")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	n.config.VNCDirs = []string{folder}
	n.start()
	return n, wire.VNC{File: filepath.Join(folder, "tokens"), Host: "192.0.2.10", Port: freePort(t), Token: "qimen", Password: "test123", Time: 7200, VMID: 101}
}

// tokens are the lines of a token file.
func tokens(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(content)
}

func viewer(t *testing.T, port int) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// talk reads the screen's greeting and sees that bytes go both ways.
func talk(t *testing.T, conn net.Conn) {
	t.Helper()
	answer := make([]byte, len("RFB 003.008\n")+5)
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "RFB 003.008\nhello" {
		t.Fatalf("%q, %v", answer, err)
	}
}

func ended(t *testing.T, conn net.Conn) {
	t.Helper()
	var deadline net.Error
	if _, err := io.Copy(io.Discard, conn); errors.As(err, &deadline) && deadline.Timeout() {
		t.Error("the viewer's connection stays open")
	}
}

func TestAVNCServiceLeadsToTheScreenUntilItIsStopped(t *testing.T) {
	n, order := screens(t)
	if err := os.WriteFile(order.File, []byte("other: 192.0.2.1:59000\nqimen: 192.0.2.1:1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := n.client.StartVNC(t.Context(), order); err != nil {
		t.Fatal(err)
	}
	if got, want := tokens(t, order.File), fmt.Sprintf("other: 192.0.2.1:59000\nqimen: 192.0.2.10:%d\n", order.Port); got != want {
		t.Errorf("tokens %q, want %q", got, want)
	}
	first, second := viewer(t, order.Port), viewer(t, order.Port)
	talk(t, first)
	talk(t, second)
	if ticket := tokens(t, filepath.Join(n.qmDir, "ticket-101")); ticket != "test123" {
		t.Errorf("the screen's password is %q", ticket)
	}
	if err := n.client.StopVNC(t.Context(), order.Port); err != nil {
		t.Fatal(err)
	}
	ended(t, first)
	ended(t, second)
	if got := tokens(t, order.File); got != "other: 192.0.2.1:59000\n" {
		t.Errorf("tokens %q", got)
	}
	if _, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", order.Port)); err == nil {
		t.Error("the port still listens")
	}
	if err := n.client.StopVNC(t.Context(), order.Port); kindOf(err) != "not_found not_found" {
		t.Errorf("stopped twice: %v", err)
	}
	for _, line := range n.calls() {
		if strings.Contains(line, "test123") {
			t.Errorf("the password shows in the process list: %s", line)
		}
	}
}

func TestAVNCServiceIsProlongedForTheSameGuestOnly(t *testing.T) {
	n, order := screens(t)
	for _, password := range []string{"first", "second"} {
		order.Password, order.Token = password, "token-"+password
		if err := n.client.StartVNC(t.Context(), order); err != nil {
			t.Fatal(err)
		}
	}
	talk(t, viewer(t, order.Port))
	if ticket := tokens(t, filepath.Join(n.qmDir, "ticket-101")); ticket != "second" {
		t.Errorf("the screen's password is %q", ticket)
	}
	if got := tokens(t, order.File); got != fmt.Sprintf("token-second: 192.0.2.10:%d\n", order.Port) {
		t.Errorf("tokens %q", got)
	}
	order.VMID = 102
	if err := n.client.StartVNC(t.Context(), order); kindOf(err) != "refused conflict" {
		t.Errorf("another guest on the same port: %v", err)
	}
}

func TestVNCServicesAndImportedTokensEndWithTheirTime(t *testing.T) {
	n, order := screens(t)
	order.Time = 1
	imported := order
	imported.Token, imported.Port = "elsewhere", 59001
	if err := errors.Join(n.client.StartVNC(t.Context(), order), n.client.ImportVNC(t.Context(), imported)); err != nil {
		t.Fatal(err)
	}
	if got := tokens(t, order.File); !strings.Contains(got, "elsewhere: 192.0.2.10:59001\n") {
		t.Errorf("tokens %q", got)
	}
	eventually(t, "all tokens are gone", func() bool { return tokens(t, order.File) == "" })
	eventually(t, "the port is free", func() bool {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", order.Port))
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
}

func TestTokensOfServicesEndWithTheDaemonAndImportedOnesDoNot(t *testing.T) {
	n, order := screens(t)
	imported := order
	imported.Token, imported.File = "elsewhere", filepath.Dir(order.File)
	if err := errors.Join(n.client.StartVNC(t.Context(), order), n.client.ImportVNC(t.Context(), imported)); err != nil {
		t.Fatal(err)
	}
	conn := viewer(t, order.Port)
	talk(t, conn)
	n.halt()
	ended(t, conn)
	folder := filepath.Join(imported.File, "gantry")
	if tokens(t, order.File) != "" || tokens(t, folder) == "" {
		t.Errorf("after its end: %q and %q", tokens(t, order.File), tokens(t, folder))
	}
	n.start()
	if tokens(t, folder) == "" {
		t.Error("an imported token is lost with a restart")
	}
}

func TestVNCOrdersThatAreRefused(t *testing.T) {
	n, good := screens(t)
	for want, change := range map[string]func(order *wire.VNC){
		"refused invalid username":        func(order *wire.VNC) { order.Token = "a: 127.0.0.1:22\nb" },
		"refused invalid host":            func(order *wire.VNC) { order.Host = "host name" },
		"refused invalid port":            func(order *wire.VNC) { order.Port = 22 },
		"refused invalid password":        func(order *wire.VNC) { order.Password = "" },
		"refused invalid time":            func(order *wire.VNC) { order.Time = 0 },
		"refused invalid vmid":            func(order *wire.VNC) { order.VMID = 1 },
		"refused forbidden vnc_file_path": func(order *wire.VNC) { order.File = "/etc/passwd" },
	} {
		order := good
		change(&order)
		for name, call := range map[string]func() error{
			"vnc":    func() error { return n.client.StartVNC(t.Context(), order) },
			"import": func() error { return n.client.ImportVNC(t.Context(), order) },
		} {
			if err := call(); kindOf(err) != want {
				t.Errorf("%s: %v, want %s", name, err, want)
			}
		}
	}
	if err := os.Symlink("/etc", filepath.Join(filepath.Dir(good.File), "out")); err != nil {
		t.Fatal(err)
	}
	good.File = filepath.Join(filepath.Dir(good.File), "out", "tokens")
	if err := n.client.ImportVNC(t.Context(), good); !strings.HasPrefix(kindOf(err), "refused forbidden") {
		t.Errorf("through a symbolic link: %v", err)
	}
}
