package libvirttest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"testing"

	"golang.org/x/crypto/ssh"

	"gantry/internal/libvirthost"
	"gantry/internal/sshtest"
)

// SSH is a way to a host through its SSH server on this machine's loopback.
type SSH struct {
	Host, Port, User string
	// PrivateKey is let in, StrangerKey is not. HostKeyPin is the SHA-256 of the host's key in hex.
	PrivateKey, StrangerKey, HostKeyPin string
	// Socket is where libvirtd listens, as the host sees it.
	Socket string
}

// SSH starts an OpenSSH server that sees the host's files, until the test ends. The port is on this machine's loopback.
func (h *Host) SSH(t testing.TB) SSH {
	t.Helper()
	server := sshtest.Start(t, sshtest.Options{
		Inside: []string{"nsenter", "--target", fmt.Sprint(h.process.Process.Pid), "--mount", "--"},
	})
	hostKey, _, _, _, err := ssh.ParseAuthorizedKey([]byte(server.HostKey))
	if err != nil {
		t.Fatal(err)
	}
	pin := sha256.Sum256(hostKey.Marshal())
	return SSH{
		Host: server.Host, Port: strconv.Itoa(server.Port), User: server.User, PrivateKey: server.PrivateKey,
		StrangerKey: server.StrangerKey, HostKeyPin: hex.EncodeToString(pin[:]), Socket: libvirthost.Socket,
	}
}
