package libvirttest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"gantry/internal/libvirthost"
)

// SSH is a way to a host through its SSH server on this machine's loopback.
type SSH struct {
	Host, Port, User string
	// PrivateKey is let in, StrangerKey is not. HostKeyPin is the SHA-256 of the host's key in hex.
	PrivateKey, StrangerKey, HostKeyPin string
	// Socket is where libvirtd listens, as the host sees it.
	Socket string
}

// SSH starts an OpenSSH server that sees the host's files, until the test ends.
func (h *Host) SSH(t testing.TB) SSH {
	t.Helper()
	const binary = "/usr/sbin/sshd"
	if _, err := os.Stat(binary); err != nil {
		t.Fatal("sshd is missing: run scripts/install-packages.sh libvirt")
	}
	folder := t.TempDir()
	hostKey, hostPublic := newKey(t)
	privateKey, public := newKey(t)
	stranger, _ := newKey(t)
	port := freePort(t)
	write(t, filepath.Join(folder, "hostkey"), hostKey)
	write(t, filepath.Join(folder, "authorized"), string(ssh.MarshalAuthorizedKey(public)))
	configuration := filepath.Join(folder, "config")
	write(t, configuration, fmt.Sprintf("Port %s\nListenAddress 127.0.0.1\nHostKey %s/hostkey\nAuthorizedKeysFile %s/authorized\nPidFile none\n"+
		"StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nMaxStartups 100\n", port, folder, folder))
	// The host's files with this machine's network: the port is on our loopback.
	server := exec.Command("nsenter", "--target", fmt.Sprint(h.process.Process.Pid), "--mount", "--", binary, "-D", "-e", "-f", configuration)
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
	err := libvirthost.Await("sshd", func() bool {
		connection, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			return false
		}
		_ = connection.Close()
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	pin := sha256.Sum256(hostPublic.Marshal())
	return SSH{
		Host: "127.0.0.1", Port: port, User: "root", PrivateKey: privateKey, StrangerKey: stranger, HostKeyPin: hex.EncodeToString(pin[:]),
		Socket: libvirthost.Socket,
	}
}

func newKey(t testing.TB) (private string, public ssh.PublicKey) {
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

func freePort(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
