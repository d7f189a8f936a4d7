// Package sshtest runs a real OpenSSH server on loopback for tests. What it needs is in scripts/install-packages.sh, component sshd.
package sshtest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// Server is a running one.
type Server struct {
	Host string
	Port int
	User string
	// PrivateKey is let in, StrangerKey is not.
	PrivateKey, StrangerKey string
	// HostKey is the server's, as authorized_keys has it.
	HostKey string
}

// Options of a server; none are needed.
type Options struct {
	// Programs is a folder that commands find programs in first; "" = no such folder.
	Programs string
	// Inside is a command, with arguments, that runs the server, as nsenter does in another mount namespace.
	Inside []string
}

// Start runs a server until the test ends.
func Start(t testing.TB, options Options) *Server {
	t.Helper()
	const binary = "/usr/sbin/sshd"
	if _, err := os.Stat(binary); err != nil {
		t.Fatal("sshd is missing: run scripts/install-packages.sh sshd")
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // where sshd separates privileges
		t.Fatal(err)
	}
	folder := t.TempDir()
	hostKey, hostPublic := Key(t)
	privateKey, public := Key(t)
	stranger, _ := Key(t)
	port := freePort(t)
	write(t, filepath.Join(folder, "hostkey"), hostKey)
	write(t, filepath.Join(folder, "authorized"), string(ssh.MarshalAuthorizedKey(public)))
	settings := fmt.Sprintf("Port %d\nListenAddress 127.0.0.1\nHostKey %s/hostkey\nAuthorizedKeysFile %s/authorized\nPidFile none\n"+
		"StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nMaxStartups 100\nSubsystem sftp internal-sftp\n", port, folder, folder)
	if options.Programs != "" {
		settings += "SetEnv PATH=" + options.Programs + ":/usr/sbin:/usr/bin:/sbin:/bin\n"
	}
	configuration := filepath.Join(folder, "config")
	write(t, configuration, settings)
	command := append(slices.Clone(options.Inside), binary, "-D", "-e", "-f", configuration)
	serve(t, exec.Command(command[0], command[1:]...))
	awaitPort(t, port)
	return &Server{
		Host: "127.0.0.1", Port: port, User: "root", PrivateKey: privateKey, StrangerKey: stranger,
		HostKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(hostPublic))),
	}
}

func serve(t testing.TB, server *exec.Cmd) {
	t.Helper()
	var log bytes.Buffer
	server.Stdout, server.Stderr = &log, &log
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		// The signal comes when the thread ends that started it (prctl(2)), not the process: this one stays as long as the server.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := server.Start()
		started <- err
		if err == nil {
			_ = server.Wait()
		}
		close(ended)
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("sshd: %s", log.String())
		}
	})
}

func awaitPort(t testing.TB, port int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		if connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = connection.Close()
			return
		}
	}
	t.Fatal("sshd does not listen")
}

// Key makes a key pair; the private one is in PEM.
func Key(t testing.TB) (private string, public ssh.PublicKey) {
	t.Helper()
	publicKey, privateKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(privateKey, "")
	if err != nil {
		t.Fatal(err)
	}
	if public, err = ssh.NewPublicKey(publicKey); err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), public
}

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
