package account

import (
	"encoding/base64"
	"strings"
	"testing"
)

func basic(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }

func TestBasicHeader(t *testing.T) {
	for _, test := range []struct {
		name, header, appID, secret string
		ok                          bool
	}{
		{"as documented", basic("1690208651216:abc"), "1690208651216", "abc", true},
		{"colon in the secret", basic("1:a:b"), "1", "a:b", true},
		{"scheme in lower case", "basic MTph", "1", "a", true},
		{"spaces around", "  Basic   MTph  ", "1", "a", true},
		{"empty", "", "", "", false},
		{"scheme only", "Basic", "", "", false},
		{"other scheme", "Bearer MTph", "", "", false},
		{"not base64", "Basic !!!", "", "", false},
		{"no colon", basic("1690208651216"), "", "", false},
		{"no secret", basic("1:"), "", "", false},
		{"no appid", basic(":a"), "", "", false},
		{"appid with letters", basic("1e9:a"), "", "", false},
		{"long appid", basic(strings.Repeat("1", 21) + ":a"), "", "", false},
		{"huge", "Basic " + strings.Repeat("A", maxBasic+4), "", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			appID, secret, ok := parseBasic(test.header)
			if appID != test.appID || secret != test.secret || ok != test.ok {
				t.Errorf("got %q %q %v", appID, secret, ok)
			}
		})
	}
}

func FuzzBasicHeader(f *testing.F) {
	for _, seed := range []string{basic("1690208651216:abc"), "Basic", "Basic ====", "basic \x00", "Basic MTph MTph"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		appID, secret, ok := parseBasic(header)
		if !ok {
			if appID != "" || secret != "" {
				t.Fatalf("refused, but gave %q %q", appID, secret)
			}
			return
		}
		if appID == "" || secret == "" || strings.Trim(appID, "0123456789") != "" {
			t.Fatalf("accepted %q %q", appID, secret)
		}
		if again, same, ok := parseBasic(basic(appID + ":" + secret)); !ok || again != appID || same != secret {
			t.Fatalf("does not come back: %q %q", again, same)
		}
	})
}
