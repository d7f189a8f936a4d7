package config

import "testing"

func TestListenAddress(t *testing.T) {
	for text, want := range map[string]string{
		":8080": "", "127.0.0.1:0": "", "[::1]:65535": "", "localhost:1": "", "0.0.0.0:80": "",
		"":                 `"" is not address:port`,
		"8080":             `"8080" is not address:port`,
		"::1:80":           `"::1:80" is not address:port`,
		"127.0.0.1:":       `"127.0.0.1:" has no port from 0 to 65535`,
		"127.0.0.1:65536":  `"127.0.0.1:65536" has no port from 0 to 65535`,
		"127.0.0.1:-1":     `"127.0.0.1:-1" has no port from 0 to 65535`,
		"127.0.0.1:http":   `"127.0.0.1:http" has no port from 0 to 65535`,
		"127.0.0.1:080":    `"127.0.0.1:080" has no port from 0 to 65535`,
		"example.com:80":   `"example.com:80" does not start with an IP address`,
		"127.0.0.1.1:8080": `"127.0.0.1.1:8080" does not start with an IP address`,
	} {
		if got := textOf(ListenAddress(text)); got != want {
			t.Errorf("ListenAddress(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestBaseURL(t *testing.T) {
	for text, want := range map[string]string{
		"http://127.0.0.1:8080": "", "https://panel.example.com": "", "https://example.com/gantry/": "", "http://[::1]:80": "",
		"":                  `"" is not an http:// or https:// URL`,
		"panel.example.com": `"panel.example.com" is not an http:// or https:// URL`,
		"ftp://example.com": `"ftp://example.com" is not an http:// or https:// URL`,
		"https://":          `"https://" is not an http:// or https:// URL`,
		"https://:443":      `"https://:443" is not an http:// or https:// URL`,
		"http://a b":        `"http://a b" is not an http:// or https:// URL`,
		"https://u:p@host":  "must not hold a user name or password",
		"https://host?x":    `"https://host?x" must not have a query or fragment`,
		"https://host?":     `"https://host?" must not have a query or fragment`,
		"https://host#x":    `"https://host#x" must not have a query or fragment`,
	} {
		if got := textOf(BaseURL(text)); got != want {
			t.Errorf("BaseURL(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestOneOf(t *testing.T) {
	if err := OneOf("zh", "en", "zh"); err != nil {
		t.Error(err)
	}
	if got, want := textOf(OneOf("de", "en", "zh", "fr")), `"de" must be en, zh or fr`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
