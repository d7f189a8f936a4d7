package controlled

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// addressError says that a download's target address may not be fetched from.
type addressError struct {
	address netip.Addr
	class   string
}

func (e *addressError) Error() string {
	return fmt.Sprintf("%s is a %s address, downloads from it are not allowed", e.address, e.class)
}

// neverFetched are networks without images but with secrets or surprises. IANA special-purpose registries, RFC 6890.
var neverFetched = prefixes(
	"0.0.0.0/8",          // this network
	"169.254.0.0/16",     // link-local, with the clouds' metadata services
	"192.0.0.0/24",       // IETF protocol assignments, with Oracle's metadata service
	"100.100.100.200/32", // Alibaba's metadata service
	"198.18.0.0/15",      // benchmarking
	"224.0.0.0/4",        // multicast
	"240.0.0.0/4",        // reserved and broadcast
	"::/128", "fe80::/10", "fec0::/10", "ff00::/8",
	"fd00:ec2::/32", "fd20:ce::254/128", // Amazon's and Google's metadata services
	"64:ff9b::/96", "64:ff9b:1::/48", // NAT64 reaches IPv4 addresses past this list, so do Teredo and 6to4
	"2001::/32", "2002::/16",
)

// privateNetworks are fetched from only when the operator allows it.
var privateNetworks = prefixes(
	"127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7",
)

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

// checkAddress is nil when downloads may connect to address.
func checkAddress(address netip.Addr, allowPrivate bool) error {
	plain := address.Unmap().WithZone("")
	for _, network := range neverFetched {
		if network.Contains(plain) {
			return &addressError{plain, "link-local, metadata, multicast or reserved"}
		}
	}
	for _, network := range privateNetworks {
		if !allowPrivate && network.Contains(plain) {
			return &addressError{plain, "loopback or private"}
		}
	}
	return nil
}

// checkURL accepts absolute http and https URLs. Host names are judged when they are dialled; addresses at once.
func checkURL(address *url.URL, allowPrivate bool) error {
	if address.Scheme != "http" && address.Scheme != "https" {
		return errors.New("must begin with http:// or https://")
	}
	if address.Hostname() == "" {
		return errors.New("has no host")
	}
	if literal, err := netip.ParseAddr(address.Hostname()); err == nil {
		return checkAddress(literal, allowPrivate)
	}
	return nil
}

const maxRedirects = 10

// downloadClient fetches images. Every connection's address is checked after name resolution and just before connect(2),
// so neither a redirect nor a name that resolves anew can reach a refused address. Proxies from the
// environment are not used: the check would see the proxy's address only.
func downloadClient(allowPrivate bool) *http.Client {
	dialer := &net.Dialer{
		Timeout:   15 * time.Second,
		KeepAlive: 30 * time.Second,
		ControlContext: func(_ context.Context, network, address string, _ syscall.RawConn) error {
			peer, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("dial %s %s: %w", network, address, err)
			}
			return checkAddress(peer.Addr(), allowPrivate)
		},
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    15 * time.Second,
			ResponseHeaderTimeout:  30 * time.Second,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true, // bytes on disk must be the bytes that Range counts
		},
		CheckRedirect: func(next *http.Request, earlier []*http.Request) error {
			if len(earlier) >= maxRedirects {
				return fmt.Errorf("more than %d redirects", maxRedirects)
			}
			if err := checkURL(next.URL, allowPrivate); err != nil {
				return &redirectError{err}
			}
			if next.URL.Scheme == "http" && earlier[len(earlier)-1].URL.Scheme == "https" {
				return &redirectError{errors.New("it leads from https to plain http")}
			}
			return nil
		},
	}
}

// redirectError is a redirect that no retry will mend.
type redirectError struct{ err error }

func (e *redirectError) Error() string { return "redirect refused: " + e.err.Error() }
func (e *redirectError) Unwrap() error { return e.err }
