package vncproxy

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// originAllowed tells whether the page that opens the websocket may do so. Browsers always send Origin with a websocket, so
// a request without one does not come from a page, and needs the token all the same.
func (p *Proxy) originAllowed(r *http.Request) bool {
	text := r.Header.Get("Origin")
	if text == "" {
		return true
	}
	origin, err := url.Parse(text)
	if err != nil || origin.Host == "" {
		return false // also "null", which sandboxed pages send
	}
	if strings.EqualFold(origin.Host, r.Host) {
		return true
	}
	for _, allowed := range p.origins {
		if strings.EqualFold(text, allowed) {
			return true
		}
	}
	return false
}

// origins lists the origins beside the request's own host that a configuration allows.
func origins(config Config) []string {
	allowed := config.AllowedOrigins
	if public, err := url.Parse(config.PublicURL); err == nil && public.Host != "" {
		allowed = append([]string{public.Scheme + "://" + public.Host}, allowed...)
	}
	return allowed
}

// clientAddress is the browser's address: the peer's, or, as long as that is a trusted proxy, the next one in X-Forwarded-For
// read from the right. The zero Addr means that it can't be told.
func (p *Proxy) clientAddress(r *http.Request) netip.Addr {
	address := parseAddress(r.RemoteAddr)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && p.trusts(address); i-- {
		hop := parseAddress(strings.TrimSpace(hops[i]))
		if !hop.IsValid() {
			break
		}
		address = hop
	}
	return address
}

func (p *Proxy) trusts(address netip.Addr) bool {
	for _, network := range p.trusted {
		if network.Contains(address) {
			return true
		}
	}
	return false
}

// parseAddress reads an IP address with or without port.
func parseAddress(text string) netip.Addr {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return address.Unmap().WithZone("")
}
