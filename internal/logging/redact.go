package logging

import (
	"log/slog"
	"reflect"
	"regexp"
	"strings"
)

// redacted stands where a secret was.
const redacted = "[redacted]"

// secretNames mark attributes that hold a secret when their name contains one, whatever its case and separators.
var secretNames = []string{
	"password", "passwd", "passphrase", "secret", "token", "ticket", "authorization", "cookie", "appkey", "apikey",
	"privatekey", "csrf", "dsn",
}

// secretText finds secrets inside other text, such as an error that repeats a request: PVE tickets and API tokens,
// HTTP credentials, JSON web tokens, the password in a URL, and name=value pairs.
var secretText = regexp.MustCompile(strings.Join([]string{
	`PVE(?:VNC)?:[^\s:]+:[0-9A-F]{8}::[A-Za-z0-9+/=%]+`,
	`(?:PVEAPIToken=[^\s=]+=)[^\s"',;]+`,
	`(?i:(?:Basic|Bearer)\s+)[A-Za-z0-9+/=._~-]{8,}`,
	`eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`,
	`(?:://[^\s/:@]*:)[^\s/@]+@`,
	`(?i:(?:password|secret|token|ticket|appkey)=)[^\s&"',;]+`,
}, "|"))

// redact is slog's ReplaceAttr. Numbers, booleans and durations stay: "tokenCount" is no secret.
func redact(groups []string, attr slog.Attr) slog.Attr {
	switch attr.Value.Kind() {
	case slog.KindString, slog.KindAny:
	default:
		return attr
	}
	if isSecret(attr.Key) || anySecret(groups) {
		return slog.String(attr.Key, redacted)
	}
	switch value := attr.Value.Any().(type) {
	case string:
		return slog.String(attr.Key, Text(value))
	case error:
		// A nil pointer that is an error is left to the handler, which survives its panic.
		if pointer := reflect.ValueOf(value); pointer.Kind() != reflect.Pointer || !pointer.IsNil() {
			return slog.String(attr.Key, Text(value.Error()))
		}
	}
	return attr
}

func anySecret(groups []string) bool {
	for _, group := range groups {
		if isSecret(group) {
			return true
		}
	}
	return false
}

func isSecret(name string) bool {
	plain := strings.NewReplacer("_", "", "-", "", ".", "").Replace(strings.ToLower(name))
	for _, secret := range secretNames {
		if strings.Contains(plain, secret) {
			return true
		}
	}
	return false
}

// Text replaces the secrets that a text shows by their form. It is a second line of defence: code that knows a value to
// be secret does not log it at all.
func Text(text string) string {
	if !strings.ContainsAny(text, ":=. ") { // no form of a secret without one of these
		return text
	}
	return secretText.ReplaceAllStringFunc(text, func(found string) string {
		switch {
		case strings.HasPrefix(found, "://"):
			return found[:strings.Index(found[3:], ":")+4] + redacted + "@"
		case strings.HasPrefix(found, "PVEAPIToken="):
			return found[:strings.LastIndex(found, "=")+1] + redacted
		case strings.HasPrefix(found, "PVE"), strings.HasPrefix(found, "eyJ"):
			return redacted
		}
		end := strings.IndexAny(found, "= \t")
		return found[:end+1] + redacted
	})
}
