package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// ListenAddress checks the "address:port" of a listener. The address is an IP address, "localhost", or empty for all; port
// 0 takes a free one.
func ListenAddress(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return fmt.Errorf("%q is not address:port", text)
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(number, 10) != port {
		return fmt.Errorf("%q has no port from 0 to 65535", text)
	}
	if host != "" && host != "localhost" && net.ParseIP(host) == nil {
		return fmt.Errorf("%q does not start with an IP address", text)
	}
	return nil
}

// BaseURL checks an http:// or https:// address without query, fragment or login.
func BaseURL(text string) error {
	address, err := url.Parse(text)
	switch {
	case err != nil, address.Scheme != "http" && address.Scheme != "https", address.Hostname() == "":
		return fmt.Errorf("%q is not an http:// or https:// URL", text)
	case address.User != nil:
		return errors.New("must not hold a user name or password")
	case address.RawQuery != "" || address.ForceQuery || strings.Contains(text, "#"):
		return fmt.Errorf("%q must not have a query or fragment", text)
	}
	return nil
}

// OneOf checks that the text is one of the allowed words.
func OneOf(text string, allowed ...string) error {
	if slices.Contains(allowed, text) {
		return nil
	}
	last := len(allowed) - 1
	return fmt.Errorf("%q must be %s or %s", text, strings.Join(allowed[:last], ", "), allowed[last])
}
