package broker

import (
	"context"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ConsoleNodeChange registers or changes a console proxy; nil = as it is, or its default.
type ConsoleNodeChange struct {
	ID   int64 // 0 = a new one
	Name *string
	// Host and Port are where the broker reaches the proxy, Domain what browsers open, with a port of its own if that differs.
	Host, Domain *string
	Port         *int
	TLS          *bool
	Disabled     *bool
	// SecretHash is what account.HashConsoleSecret makes of the proxy's secret.
	SecretHash *string
}

// SaveConsoleNode registers or changes a console proxy. Exists when the name is taken.
func (b *Broker) SaveConsoleNode(ctx context.Context, change ConsoleNodeChange) error {
	return b.store.Transact(ctx, func(tx Tx) error {
		node := &ConsoleNode{CreatedAt: b.now().UTC()}
		if change.ID != 0 {
			known, err := tx.FindConsoleNode(ctx, change.ID)
			if err != nil {
				return named("id", err)
			}
			node = known
		}
		if err := change.apply(node); err != nil {
			return err
		}
		if change.ID == 0 {
			return tx.InsertConsoleNode(ctx, node)
		}
		return tx.UpdateConsoleNode(ctx, node)
	})
}

func (c *ConsoleNodeChange) apply(node *ConsoleNode) error {
	host, port := node.HostPort()
	public, secure := "", false
	if address, err := url.Parse(node.URL); err == nil {
		public, secure = address.Host, address.Scheme == "https"
	}
	moved := c.Host != nil || c.Port != nil || c.Domain != nil || c.TLS != nil
	if c.Name != nil {
		node.Name = strings.TrimSpace(*c.Name)
	}
	if length := utf8.RuneCountInString(node.Name); length < 1 || length > 60 {
		return InvalidField("name", "1 to 60 characters")
	}
	if c.Host != nil {
		host = strings.Trim(*c.Host, "[]")
	}
	if c.Port != nil {
		port = *c.Port
	}
	if c.TLS != nil {
		secure = *c.TLS
	}
	if c.Domain != nil {
		public = *c.Domain
	}
	if c.Disabled != nil {
		node.Disabled = *c.Disabled
	}
	if c.SecretHash != nil {
		node.Secret = *c.SecretHash
	}
	if !moved {
		return nil
	}
	if !hostPattern.MatchString(host) {
		return InvalidField("host", "is not a host name or address")
	}
	if port < 1 || port > 65535 {
		return InvalidField("port", "must be between 1 and 65535")
	}
	node.Address = net.JoinHostPort(host, strconv.Itoa(port))
	if public == "" {
		public = host
	}
	// A domain without a port of its own is opened at the proxy's.
	if name, own, err := net.SplitHostPort(public); err == nil {
		if number, err := strconv.Atoi(own); err != nil || number < 1 || number > 65535 {
			return InvalidField("domain", "has a port that is none")
		}
		public = name
		if c.Domain != nil || c.Port == nil {
			port, _ = strconv.Atoi(own)
		}
	}
	if !hostPattern.MatchString(strings.Trim(public, "[]")) {
		return InvalidField("domain", "is not a host name or address")
	}
	scheme := "http"
	if secure {
		scheme = "https"
	}
	node.URL = scheme + "://" + net.JoinHostPort(strings.Trim(public, "[]"), strconv.Itoa(port))
	node.Healthy, node.LastError = nil, ""
	return nil
}

// DeleteConsoleNode forgets a console proxy; its secret is refused from then on.
func (b *Broker) DeleteConsoleNode(ctx context.Context, id int64) error {
	err := b.store.DeleteConsoleNode(ctx, id)
	if Is(err, NotFound) {
		failure := Because(NotFound, ReasonConsoleNodeNotFound, id)
		failure.Field = "id"
		return failure
	}
	return err
}

// HostPort is where the broker reaches the proxy; empty where nothing is known yet.
func (n *ConsoleNode) HostPort() (host string, port int) {
	text := n.Address
	address, err := url.Parse(n.URL)
	if text == "" && err == nil {
		text = address.Host
		switch {
		case address.Port() != "" || text == "":
		case address.Scheme == "https":
			text = net.JoinHostPort(address.Hostname(), "443")
		default:
			text = net.JoinHostPort(address.Hostname(), "80")
		}
	}
	host, number, err := net.SplitHostPort(text)
	if err != nil {
		return "", 0
	}
	port, _ = strconv.Atoi(number) // both kinds of text were checked when they were stored
	return host, port
}

// hostPattern takes host names and addresses of both versions.
var hostPattern = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$`)
