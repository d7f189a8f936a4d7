package access

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Errors of authentication, with the reason phrases of PVE 8. PVE 9 says "Authentication failed!" for all of them.
var (
	ErrInvalidTicket = errors.New("permission denied - invalid PVE ticket")
	ErrLogin         = errors.New("authentication failure")
)

// reason is an error in PVE's own words, which do not keep to Go's habits.
type reason string

func (r reason) Error() string { return string(r) }

func (c *Control) sign(text string) string {
	return base64.RawStdEncoding.EncodeToString(ed25519.Sign(c.key, []byte(text)))
}

func (c *Control) signed(text, signature string) bool {
	raw, err := base64.RawStdEncoding.DecodeString(signature)
	return err == nil && ed25519.Verify(c.key.Public().(ed25519.PublicKey), []byte(text), raw)
}

// stamped makes "prefix:HEXTIME" with its signature; secret is signed but not shown.
func (c *Control) stamped(prefix, secret string) string {
	plain := fmt.Sprintf("%s:%08X", prefix, c.now().Unix())
	return plain + "::" + c.sign(plain+":"+secret)
}

// made checks the signature and returns when the ticket was made.
func (c *Control) made(ticket, prefix, secret string) (time.Time, bool) {
	plain, signature, found := strings.Cut(ticket, "::")
	rest, has := strings.CutPrefix(plain, prefix+":")
	if !found || !has || !c.signed(plain+":"+secret, signature) {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseInt(rest, 16, 64)
	return time.Unix(seconds, 0), err == nil
}

// Login checks a password, or a ticket in its place, and returns the user's full name. It returns ErrLogin for any failure.
func (c *Control) Login(user, realm, password string) (string, error) {
	if realm != "" && !strings.Contains(user, "@") {
		user += "@" + realm
	}
	c.mu.RLock()
	account := c.usable(user)
	c.mu.RUnlock()
	if account == nil {
		return "", ErrLogin
	}
	if strings.HasPrefix(password, "PVE:") {
		if named, err := c.TicketUser(password); err == nil && named == user {
			return user, nil
		}
		return "", ErrLogin
	}
	if account.Password == "" || subtle.ConstantTimeCompare([]byte(account.Password), []byte(password)) != 1 {
		return "", ErrLogin
	}
	return user, nil
}

// Ticket makes a login ticket, good for two hours.
func (c *Control) Ticket(user string) string { return c.stamped("PVE:"+user, "") }

// TicketUser returns whose ticket it is, or ErrInvalidTicket.
func (c *Control) TicketUser(ticket string) (string, error) {
	parts := strings.SplitN(ticket, ":", 4)
	if len(parts) != 4 || parts[0] != "PVE" {
		return "", ErrInvalidTicket
	}
	made, ok := c.made(ticket, "PVE:"+parts[1], "")
	c.mu.RLock()
	defer c.mu.RUnlock()
	age := c.now().Sub(made)
	if !ok || age > c.lifetime || age < -5*time.Minute || !made.After(c.expired) || c.usable(parts[1]) == nil {
		return "", ErrInvalidTicket
	}
	return parts[1], nil
}

// CSRF makes the token that a ticket user sends with each change.
func (c *Control) CSRF(user string) string {
	plain := fmt.Sprintf("%08X", c.now().Unix())
	return plain + ":" + c.sign("csrf:"+user+":"+plain)
}

// CSRFValid checks such a token.
func (c *Control) CSRFValid(user, token string) bool {
	plain, signature, found := strings.Cut(token, ":")
	if !found || !c.signed("csrf:"+user+":"+plain, signature) {
		return false
	}
	seconds, err := strconv.ParseInt(plain, 16, 64)
	return err == nil && c.now().Sub(time.Unix(seconds, 0)) <= c.lifetime
}

// SetTicketLifetime changes how long tickets are good for; PVE's value is two hours.
func (c *Control) SetTicketLifetime(lifetime time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lifetime = lifetime
}

// ExpireTickets voids all tickets made until now. Tickets count whole seconds, so those of the running second are void, too.
func (c *Control) ExpireTickets() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expired = c.now()
}

// VNCTicket makes the ticket of a console: PVEVNC:HEXTIME::signature, bound to user, path and port.
func (c *Control) VNCTicket(user, path string, port int) string {
	return c.stamped("PVEVNC", vncSecret(user, path, port))
}

// VNCTicketValid checks one; tickets are good from 20 seconds before to 40 seconds after they were made.
func (c *Control) VNCTicketValid(ticket, user, path string, port int) bool {
	made, ok := c.made(ticket, "PVEVNC", vncSecret(user, path, port))
	age := c.now().Sub(made)
	return ok && age >= -20*time.Second && age <= 40*time.Second
}

func vncSecret(user, path string, port int) string { return fmt.Sprintf("%s:%s:%d", user, path, port) }

// TokenUser checks "user@realm!name=secret" (without the PVEAPIToken= prefix) and returns user@realm!name.
func (c *Control) TokenUser(text string) (string, error) {
	id, secret, _ := strings.Cut(text, "=")
	user, name, found := strings.Cut(id, "!")
	if !found {
		// Some clients write user@realm!name:secret, which PVE takes as well.
		return "", errors.New("no tokenid specified")
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	account := c.state.Users[user]
	if account == nil {
		return "", fmt.Errorf("no such user ('%s')", user)
	}
	if c.usable(user) == nil {
		return "", fmt.Errorf("user '%s' is disabled", user)
	}
	token := account.Tokens[name]
	if token == nil {
		return "", fmt.Errorf("no such token '%s' for user '%s'", name, user)
	}
	if token.Expire > 0 && token.Expire < c.now().Unix() {
		return "", fmt.Errorf("token '%s' access expired", name)
	}
	if subtle.ConstantTimeCompare([]byte(token.Secret), []byte(secret)) != 1 {
		return "", reason("invalid token value!")
	}
	return id, nil
}

// NewSecret makes a random UUID, the form of token secrets and SMBIOS ids.
func NewSecret() string {
	raw := make([]byte, 16)
	if _, err := rand.Read(raw); err != nil {
		return ""
	}
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:])
}
