// Package nodessh works on a node over SSH, to install the node daemon there: constant commands and files, nothing else.
package nodessh

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// Bounds of a connection.
const (
	dialTimeout   = 15 * time.Second
	maxOutput     = 64 << 10
	clientVersion = "SSH-2.0-Gantry"
)

// Target is a node's SSH server and who logs in.
type Target struct {
	// Address is host:port.
	Address string
	User    string
	// Password is the user's, or a private key in PEM that needs no passphrase.
	Password string
	// HostKey is the key that the server must have, as authorized_keys has it; "" = any, see Node.HostKey.
	HostKey string
}

// HostKeyError says that a server has another key than the one on record: it may be somebody else.
type HostKeyError struct{ Want, Got string }

func (e *HostKeyError) Error() string {
	return fmt.Sprintf("the server shows the host key %s, on record is %s", e.Got, e.Want)
}

// ErrLogin says that the server does not take the credential.
var ErrLogin = errors.New("the server refuses user or password")

// Node is an open connection.
type Node struct {
	client  *ssh.Client
	hostKey string
}

// Dial connects and logs in. Errors: *HostKeyError, before any credential was sent; ErrLogin; or the network's.
func Dial(ctx context.Context, target Target) (*Node, error) {
	authentication, err := methods(target.Password)
	if err != nil {
		return nil, err
	}
	node := &Node{}
	configuration := &ssh.ClientConfig{
		User: target.User, Auth: authentication, Timeout: dialTimeout, ClientVersion: clientVersion,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			node.hostKey = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
			return matches(target.HostKey, key)
		},
	}
	if target.HostKey != "" {
		known, _, _, _, err := ssh.ParseAuthorizedKey([]byte(target.HostKey))
		if err != nil {
			return nil, fmt.Errorf("read the host key on record: %w", err)
		}
		configuration.HostKeyAlgorithms = algorithmsOf(known.Type())
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, "tcp", target.Address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = connection.Close() })
	channel, channels, requests, err := ssh.NewClientConn(connection, target.Address, configuration)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = connection.Close()
		return nil, dialError(err)
	}
	node.client = ssh.NewClient(channel, channels, requests)
	return node, nil
}

func dialError(err error) error {
	var mismatch *HostKeyError
	switch {
	case errors.As(err, &mismatch):
		return mismatch
	// x/crypto/ssh has no values for these. Message 51 is SSH_MSG_USERAUTH_FAILURE (RFC 4252), at once from a server without
	// keyboard-interactive.
	case strings.Contains(err.Error(), "unable to authenticate"), strings.Contains(err.Error(), "unexpected message type 51"):
		return ErrLogin
	}
	return err
}

func methods(secret string) ([]ssh.AuthMethod, error) {
	if strings.HasPrefix(strings.TrimSpace(secret), "-----BEGIN") {
		signer, err := ssh.ParsePrivateKey([]byte(secret))
		if err != nil {
			return nil, fmt.Errorf("read the private key: %w", err)
		}
		return []ssh.AuthMethod{ssh.PublicKeys(signer)}, nil
	}
	return []ssh.AuthMethod{
		ssh.Password(secret),
		ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
			answers := make([]string, len(questions))
			for i := range answers {
				answers[i] = secret
			}
			return answers, nil
		}),
	}, nil
}

// algorithmsOf are the signatures that a host key of a type makes: without them the server may show another of its keys.
func algorithmsOf(kind string) []string {
	if kind == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{kind}
}

func matches(want string, key ssh.PublicKey) error {
	if want == "" {
		return nil
	}
	known, _, _, _, err := ssh.ParseAuthorizedKey([]byte(want))
	if err != nil {
		return fmt.Errorf("read the host key on record: %w", err)
	}
	if subtle.ConstantTimeCompare(known.Marshal(), key.Marshal()) != 1 {
		return &HostKeyError{Want: ssh.FingerprintSHA256(known), Got: ssh.FingerprintSHA256(key)}
	}
	return nil
}

// Fingerprint is a host key as OpenSSH shows it ("SHA256:…"); "" for a key that can't be read.
func Fingerprint(hostKey string) string {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(hostKey))
	if err != nil {
		return ""
	}
	return ssh.FingerprintSHA256(key)
}

// HostKey is the key that the server has, as authorized_keys has it.
func (n *Node) HostKey() string { return n.hostKey }

// Close ends the connection.
func (n *Node) Close() error { return n.client.Close() }

// Run runs a command, which the server gives to a shell: it must be a constant. The error of one that failed has the end of its words.
func (n *Node) Run(ctx context.Context, command string) (string, error) {
	session, err := n.client.NewSession()
	if err != nil {
		return "", err
	}
	defer session.Close()
	var output, words limited
	session.Stdout, session.Stderr = &output, &words
	stop := context.AfterFunc(ctx, func() { _ = n.client.Close() })
	err = session.Run(command)
	if !stop() {
		return "", ctx.Err()
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", command, err, strings.TrimSpace(words.String()+" "+output.String()))
	}
	return output.String(), nil
}

// limited keeps the beginning of what is written to it.
type limited struct{ bytes.Buffer }

func (l *limited) Write(text []byte) (int, error) {
	if room := maxOutput - l.Len(); room > 0 {
		l.Buffer.Write(text[:min(room, len(text))])
	}
	return len(text), nil
}

// Files opens the node's files. Closing the node ends it.
func (n *Node) Files() (*Files, error) {
	client, err := sftp.NewClient(n.client)
	if err != nil {
		return nil, fmt.Errorf("open sftp: %w", err)
	}
	return &Files{client}, nil
}

// Files are a node's files.
type Files struct{ client *sftp.Client }

// Write puts content into place at once: readers see the old file or the new one.
func (f *Files) Write(path string, content io.Reader, mode fs.FileMode) error {
	if err := f.client.MkdirAll(path[:strings.LastIndexByte(path, '/')]); err != nil {
		return fmt.Errorf("make the folder of %s: %w", path, err)
	}
	temporary := path + ".gantry-new"
	file, err := f.client.Create(temporary)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = io.Copy(file, content)
	err = errors.Join(err, file.Chmod(mode.Perm()), file.Close())
	if err == nil {
		err = f.client.PosixRename(temporary, path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), f.Remove(temporary))
	}
	return nil
}

// Read gives a small file; an error that wraps fs.ErrNotExist where there is none.
func (f *Files) Read(path string) (string, error) {
	file, err := f.client.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxOutput))
	return string(content), err
}

// Move renames a file over another one.
func (f *Files) Move(from, to string) error { return f.client.PosixRename(from, to) }

// Exists tells whether there is a file.
func (f *Files) Exists(path string) bool {
	_, err := f.client.Stat(path)
	return err == nil
}

// Remove deletes a file; a missing one is no error.
func (f *Files) Remove(path string) error {
	if err := f.client.Remove(path); err != nil && f.Exists(path) {
		return err
	}
	return nil
}
