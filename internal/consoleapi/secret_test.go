package consoleapi

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseToken(t *testing.T) {
	good := string(NewToken())
	for _, row := range []struct {
		name, text string
		want       bool
	}{
		{"fresh", good, true},
		{"empty", "", false},
		{"one short", good[1:], false},
		{"one long", good + "A", false},
		{"padded", good[:42] + "=", false},
		{"other alphabet", "+/" + good[2:], false},
		{"line break inside", good[:20] + "\n" + good[21:], false},
		{"bits behind the last byte", strings.Repeat("A", 42) + "B", false},
	} {
		if _, err := ParseToken(row.text); (err == nil) != row.want {
			t.Errorf("%s: ParseToken(%q): %v, want accepted %v", row.name, row.text, err, row.want)
		}
	}
}

func TestTokensDiffer(t *testing.T) {
	if a, b := NewToken(), NewToken(); a == b || a.Hash() == b.Hash() || len(a.Hash()) != 64 {
		t.Errorf("tokens %q and %q with hashes %q and %q", a, b, a.Hash(), b.Hash())
	}
}

// FuzzParseToken holds that what is accepted is the one spelling of 32 bytes, so that one token has one hash.
func FuzzParseToken(f *testing.F) {
	f.Add(string(NewToken()))
	f.Add("")
	f.Add(strings.Repeat("A", 43))
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseToken(text)
		if err != nil {
			if strings.Contains(err.Error(), text) && text != "" && len(text) > 8 {
				t.Errorf("the error repeats the text: %v", err)
			}
			return
		}
		if len(text) != secretLength || strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Errorf("accepted %q", text)
		}
		if string(token) != text {
			t.Errorf("%q was changed to %q", text, token)
		}
	})
}

// FuzzPlainText holds that foreign text becomes one short printable line that fits where it is shown.
func FuzzPlainText(f *testing.F) {
	f.Add("Authentication failed\n")
	f.Add("\x1b[31mred\x00 <script>\u202e")
	f.Add(strings.Repeat("长", 300))
	f.Fuzz(func(t *testing.T, text string) {
		plain := PlainText(text)
		if len(plain) > maxPlainText || !utf8.ValidString(plain) || strings.ContainsAny(plain, "\x00\x1b\r\n\t\u202e") {
			t.Errorf("PlainText(%q) = %q", text, plain)
		}
		if PlainText(plain) != plain {
			t.Errorf("PlainText is not stable for %q", text)
		}
	})
}

func TestSecretsStayOutOfLogs(t *testing.T) {
	token, key := NewToken(), NewSessionKey()
	target := Target{
		Network: NetworkWebSocket, Address: "wss://10.1.2.3:8006/?vncticket=TICKET", Header: map[string]string{"Authorization": "CREDENTIAL"},
		VNCPassword: "PASSWORD", SessionID: "S1", VMID: 7,
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "token", token, "key", key, "target", target)
	fmt.Fprintf(&log, "%v %+v %#v %s", target, target, target, target)
	for _, secret := range []string{string(token), string(key), "10.1.2.3", "TICKET", "CREDENTIAL", "PASSWORD"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%q is in %s", secret, log.String())
		}
	}
}
