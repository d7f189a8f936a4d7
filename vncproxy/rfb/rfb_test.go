package rfb

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
)

// script is the other side of a handshake: it says its lines whatever it hears, and remembers what it heard.
type script struct {
	says  io.Reader
	heard bytes.Buffer
}

func (s *script) Read(p []byte) (int, error)  { return s.says.Read(p) }
func (s *script) Write(p []byte) (int, error) { return s.heard.Write(p) }

func says(parts ...string) *script {
	return &script{says: strings.NewReader(strings.Join(parts, ""))}
}

const challenge = "0123456789abcdef"

func response(password string) string {
	answer := Response(password, [16]byte([]byte(challenge)))
	return string(answer[:])
}

func TestConnect(t *testing.T) {
	const v33, v37, v38 = "RFB 003.003\n", "RFB 003.007\n", "RFB 003.008\n"
	const ok, failed = "\x00\x00\x00\x00", "\x00\x00\x00\x01"
	for _, row := range []struct {
		name     string
		password string
		server   *script
		heard    string
		left     string // must still be on the stream
		check    func(error) bool
	}{
		{"3.8 with password", "secret", says(v38, "\x02\x01\x02", challenge, ok, "X"), v38 + "\x02" + response("secret"), "X", isNil},
		{"3.8 without password", "", says(v38, "\x01\x01", ok, "X"), v38 + "\x01", "X", isNil},
		{"3.8 password known but not wanted", "secret", says(v38, "\x01\x01", ok), v38 + "\x01", "", isNil},
		{"3.7 with password", "secret", says(v37, "\x01\x02", challenge, ok, "X"), v37 + "\x02" + response("secret"), "X", isNil},
		{"3.7 none has no result", "", says(v37, "\x01\x01", "X"), v37 + "\x01", "X", isNil},
		{"3.3 with password", "secret", says(v33, "\x00\x00\x00\x02", challenge, ok, "X"), v33 + response("secret"), "X", isNil},
		{"3.3 none has no result", "", says(v33, "\x00\x00\x00\x01", "X"), v33, "X", isNil},
		{"3.5 counts as 3.3", "", says("RFB 003.005\n", "\x00\x00\x00\x01", "X"), v33, "X", isNil},
		{"newer counts as 3.8", "", says("RFB 005.000\n", "\x01\x01", ok), v38 + "\x01", "", isNil},
		{"Apple counts as 3.8", "", says("RFB 003.889\n", "\x01\x01", ok), v38 + "\x01", "", isNil},
		{"wrong password with reason", "secret", says(v38, "\x01\x02", challenge, failed, "\x00\x00\x00\x03bad"), v38 + "\x02" + response("secret"), "", isRefused("bad", true)},
		{"wrong password, reason missing", "secret", says(v38, "\x01\x02", challenge, failed), v38 + "\x02" + response("secret"), "", isRefused("", true)},
		{"wrong password in 3.3 has no reason", "secret", says(v33, "\x00\x00\x00\x02", challenge, failed, "X"), v33 + response("secret"), "X", isRefused("", true)},
		{"3.8 refuses the connection", "", says(v38, "\x00", "\x00\x00\x00\x04busy"), v38, "", isRefused("busy", false)},
		{"3.3 refuses the connection", "", says(v33, "\x00\x00\x00\x00", "\x00\x00\x00\x04busy"), v33, "", isRefused("busy", false)},
		{"endless reason is cut", "", says(v38, "\x00", "\xff\xff\xff\xff"+strings.Repeat("a", 5000)), v38, strings.Repeat("a", 5000-maxReason), isRefused(strings.Repeat("a", maxReason), false)},
		{"password wanted", "", says(v38, "\x01\x02"), v38, "", is(ErrPasswordWanted)},
		{"VeNCrypt only", "secret", says(v38, "\x01\x13"), v38, "", is(ErrNoSecurity)},
		{"3.3 unknown type", "secret", says(v33, "\x00\x00\x01\x02"), v33, "", is(ErrNoSecurity)},
		{"unknown result", "", says(v38, "\x01\x01", "\x00\x00\x00\x09"), v38 + "\x01", "", is(ErrProtocol)},
		{"a web server", "", says("HTTP/1.1 400 Bad Request\r\n"), "", "", func(err error) bool { return errors.Is(err, ErrProtocol) }},
		{"closes at once", "", says(""), "", "", is(io.EOF)},
		{"closes in the middle", "secret", says(v38, "\x02\x01"), v38, "", is(io.ErrUnexpectedEOF)},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := Connect(row.server, row.password)
			if !row.check(err) {
				t.Fatalf("Connect: %v", err)
			}
			if got := row.server.heard.String(); got != row.heard {
				t.Errorf("server heard %q, want %q", got, row.heard)
			}
			if left, _ := io.ReadAll(row.server); row.left != "" && string(left) != row.left {
				t.Errorf("left on the stream: %d bytes %.20q, want %.20q", len(left), left, row.left)
			}
		})
	}
}

func isNil(err error) bool { return err == nil }

func is(want error) func(error) bool {
	return func(err error) bool { return errors.Is(err, want) }
}

func isRefused(reason string, authentication bool) func(error) bool {
	return func(err error) bool {
		var refused *RefusedError
		return errors.As(err, &refused) && refused.Reason == reason && refused.Authentication == authentication
	}
}

func TestServe(t *testing.T) {
	const none = "\x00\x00\x00\x01"
	for _, row := range []struct {
		name   string
		client *script
		heard  string
		left   string
		check  func(error) bool
	}{
		{"3.8", says("RFB 003.008\n", "\x01", "X"), "RFB 003.008\n\x01\x01\x00\x00\x00\x00", "X", isNil},
		{"3.7", says("RFB 003.007\n", "\x01", "X"), "RFB 003.008\n\x01\x01", "X", isNil},
		{"3.3", says("RFB 003.003\n", "X"), "RFB 003.008\n" + none, "X", isNil},
		{"picks what was not offered", says("RFB 003.008\n", "\x02"), "RFB 003.008\n\x01\x01", "", is(ErrProtocol)},
		{"no RFB", says("GET / HTTP/1.1\r\n"), "RFB 003.008\n", "", is(ErrProtocol)},
		{"leaves", says("RFB "), "RFB 003.008\n", "", is(io.ErrUnexpectedEOF)},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := Serve(row.client); !row.check(err) {
				t.Fatalf("Serve: %v", err)
			}
			if got := row.client.heard.String(); got != row.heard {
				t.Errorf("client heard %q, want %q", got, row.heard)
			}
			if left, _ := io.ReadAll(row.client); row.left != "" && string(left) != row.left {
				t.Errorf("left on the stream: %q, want %q", left, row.left)
			}
		})
	}
}

// The vectors come from OpenSSL 3's des-ecb (legacy provider) over bit-mirrored keys, so they share no code with the
// implementation.
func TestResponseVectors(t *testing.T) {
	for _, row := range []struct{ password, challenge, want string }{
		{"", "00000000000000000000000000000000", "8ca64de9c1b123a78ca64de9c1b123a7"},
		{"secret", "30313233343536373839616263646566", "752440ee2bfcc2a0d9013fd20371e23b"},
		{"PVEVNC:6", "30313233343536373839616263646566", "eed50e065145a007a23093c967ec6db2"},
		{"PVEVNC:65A1B2C3::long tail of a PVE 8 ticket", "30313233343536373839616263646566", "eed50e065145a007a23093c967ec6db2"},
	} {
		raw, err := hex.DecodeString(row.challenge)
		if err != nil {
			t.Fatal(err)
		}
		got := Response(row.password, [16]byte(raw))
		if hex.EncodeToString(got[:]) != row.want {
			t.Errorf("Response(%q) = %x, want %s", row.password, got, row.want)
		}
	}
}
