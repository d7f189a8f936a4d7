package vncproxy

import (
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"gantry/internal/consoleapi"
)

// cookieAge is how long a browser keeps a session key; the broker ends sessions sooner.
const cookieAge = 24 * time.Hour

// cookieName differs from link to link, so that consoles of several machines can be open side by side. It shows a part of the
// token's hash, from which nothing can be won.
func cookieName(token consoleapi.Token) string { return "gantry_console_" + token.Hash()[:16] }

// presentedKey is the session key that the browser brought along for this token, or empty.
func presentedKey(r *http.Request, token consoleapi.Token) consoleapi.SessionKey {
	cookie, err := r.Cookie(cookieName(token))
	if err != nil {
		return ""
	}
	key, err := consoleapi.ParseSessionKey(cookie.Value)
	if err != nil {
		return ""
	}
	return key
}

// setCookie hands the session key to the browser, out of reach of scripts and of other sites.
func (p *Proxy) setCookie(w http.ResponseWriter, r *http.Request, token consoleapi.Token, key consoleapi.SessionKey) {
	http.SetCookie(w, &http.Cookie{
		Name:     cookieName(token),
		Value:    string(key),
		Path:     "/", // a reverse proxy may serve us under a path of its own
		MaxAge:   int(cookieAge.Seconds()),
		HttpOnly: true,
		Secure:   p.secure || r.TLS != nil,
		SameSite: http.SameSiteStrictMode,
	})
}

func addressText(address netip.Addr) string {
	if !address.IsValid() {
		return ""
	}
	return address.String()
}

func hasScheme(text, scheme string) bool {
	parsed, err := url.Parse(text)
	return err == nil && parsed.Scheme == scheme
}
