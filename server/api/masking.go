package api

import (
	"encoding/json"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

// Bounds of an audit entry, in bytes.
const (
	maxAuditBody  = 4096
	maxAuditPath  = 512
	maxAuditValue = 256
)

// secretWords mark fields whose values are never stored.
var secretWords = []string{"password", "passwd", "secret", "token", "ticket", "appkey", "privatekey", "clientkey", "passphrase", "credential", "authorization"}

// entry makes the audit entry of a call.
func (e *exchange) entry(status, code int, took time.Duration) broker.AuditEntry {
	// The admin path is a secret, too.
	path := strings.Replace(e.c.Request.URL.Path, "/"+e.api.adminPath+"/", "/{"+route.AdminPathParameter+"}/", 1)
	if len(e.input.Query) > 0 {
		path += "?" + maskedText(e.input.Query, maxAuditPath)
	}
	body := ""
	switch {
	case e.input.List != nil:
		body = maskedText(e.input.List, maxAuditBody)
	case e.input.Body != nil:
		body = maskedText(e.input.Body, maxAuditBody)
	}
	return broker.AuditEntry{
		At: e.started.UTC(), RequestID: e.call.Actor.RequestID, Actor: e.call.Actor.Name, Address: e.call.Client.String(),
		Method: e.c.Request.Method, Path: shortened(path, maxAuditPath), Body: body,
		Status: status, Code: code, Duration: took,
	}
}

func maskedText(values any, most int) string {
	text, err := json.Marshal(masked(values))
	if err != nil { // can't be: the values came out of JSON or a form
		return ""
	}
	return shortened(string(text), most)
}

// masked copies a value without secrets and with short texts.
func masked(value any) any {
	switch known := value.(type) {
	case map[string]any:
		result := make(map[string]any, len(known))
		for name, inner := range known {
			if isSecret(name) && inner != nil && inner != "" {
				result[shortened(name, maxAuditValue)] = ams.Masked
				continue
			}
			result[shortened(name, maxAuditValue)] = masked(inner)
		}
		return result
	case []any:
		result := make([]any, len(known))
		for i, inner := range known {
			result[i] = masked(inner)
		}
		return result
	case string:
		return shortened(withoutUser(known), maxAuditValue)
	}
	return value
}

func isSecret(name string) bool {
	name = strings.ToLower(name)
	for _, word := range secretWords {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// withoutUser takes user name and password out of a URL.
func withoutUser(text string) string {
	if !strings.Contains(text, "://") || !strings.Contains(text, "@") {
		return text
	}
	address, err := url.Parse(text)
	if err != nil {
		return ams.Masked
	}
	if address.User == nil {
		return text
	}
	address.User = url.User("***")
	return address.String()
}

// shortened cuts a text to at most so many bytes, never inside a character.
func shortened(text string, most int) string {
	if len(text) <= most {
		return text
	}
	const mark = "…"
	cut := most - len(mark)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + mark
}
