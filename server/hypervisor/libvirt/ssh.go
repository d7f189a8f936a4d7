package libvirt

import (
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"gantry/internal/tlspin"
	"gantry/server/broker"
)

// sshTransport keeps one SSH connection and opens a channel in it (direct-streamlocal@openssh.com) for every socket.
type sshTransport struct {
	known
	address, socket, user string
	methods               []ssh.AuthMethod

	mu     sync.Mutex
	client *ssh.Client
	closed bool
}

func newSSHTransport(given options, pin tlspin.Pin) (*sshTransport, error) {
	t := &sshTransport{address: given.endpoint(), socket: given.socket, user: given.user, known: known{pinned: pin}}
	if given.privateKey != "" {
		signer, err := parseKey(given.privateKey, given.keyPass)
		if err != nil {
			return nil, err
		}
		t.methods = append(t.methods, ssh.PublicKeys(signer))
	}
	if given.password != "" {
		t.methods = append(t.methods, ssh.Password(given.password), ssh.KeyboardInteractive(
			func(_, _ string, questions []string, echo []bool) ([]string, error) {
				answers := make([]string, len(questions))
				for i := range questions {
					if !echo[i] { // a question whose answer is hidden asks for the password
						answers[i] = given.password
					}
				}
				return answers, nil
			}))
	}
	return t, nil
}

// parseKey never repeats the key's text in its error.
func parseKey(text, passphrase string) (ssh.Signer, error) {
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	var missing *ssh.PassphraseMissingError
	signer, err := ssh.ParsePrivateKey([]byte(text))
	if errors.As(err, &missing) {
		if signer, err = ssh.ParsePrivateKeyWithPassphrase([]byte(text), []byte(passphrase)); err != nil {
			return nil, broker.InvalidField("passphrase", "does not open the private key")
		}
	}
	if err != nil {
		return nil, broker.InvalidField("privateKey", "is not a private key")
	}
	return signer, nil
}

func (t *sshTransport) dial(ctx context.Context) (net.Conn, error) {
	return t.dialSocket(ctx, t.socket)
}

func (t *sshTransport) dialSocket(ctx context.Context, path string) (net.Conn, error) {
	client, err := t.connection(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := client.DialContext(ctx, "unix", path)
	var refused *ssh.OpenChannelError
	switch {
	case errors.As(err, &refused) && refused.Reason == ssh.Prohibited:
		return nil, &broker.Error{Kind: broker.HypervisorAuth, Err: err,
			Detail: "sshd does not forward to unix sockets: set AllowStreamLocalForwarding yes for this user"}
	case errors.As(err, &refused):
		return nil, &broker.Error{Kind: broker.Unreachable, Detail: "the host can't open " + path + ": is libvirtd running, and is the user in the group libvirt?", Err: err}
	case err != nil && ctx.Err() == nil:
		t.drop(client)
	}
	return conn, err
}

func (t *sshTransport) connection(ctx context.Context) (*ssh.Client, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, broker.Errorf(broker.Unreachable, "the connection was closed")
	}
	if t.client != nil {
		return t.client, nil
	}
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", t.address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	conn, channels, requests, err := ssh.NewClientConn(raw, t.address, &ssh.ClientConfig{
		User: t.user, Auth: t.methods,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error { return t.meet(ctx, sha256.Sum256(key.Marshal())) },
	})
	if err != nil {
		_ = raw.Close()
		return nil, refusedSSH(ctx, err)
	}
	client := ssh.NewClient(conn, channels, requests)
	t.client = client
	go func() {
		_ = client.Wait()
		t.drop(client)
	}()
	go t.keepAlive(client)
	return client, nil
}

// keepAlive finds a host that went away without a word. The request's answer does not matter, see OpenSSH's PROTOCOL.
func (t *sshTransport) keepAlive(client *ssh.Client) {
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	for range ticker.C {
		timer := time.AfterFunc(pingPatience, func() { _ = client.Close() })
		_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
		timer.Stop()
		if err != nil {
			return
		}
	}
}

func refusedSSH(ctx context.Context, err error) error {
	var known *broker.Error
	switch {
	case errors.As(err, &known), ctx.Err() != nil:
		return err
	case strings.Contains(err.Error(), "unable to authenticate"):
		return &broker.Error{Kind: broker.HypervisorAuth, Detail: "the host refused the SSH user, key or password", Err: err}
	}
	return err
}

func (t *sshTransport) drop(client *ssh.Client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.client == client {
		t.client = nil
	}
	_ = client.Close()
}

func (t *sshTransport) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.client != nil {
		_ = t.client.Close()
		t.client = nil
	}
}
