package access

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"gantry/lab/apierror"
)

// Root is the one user who may do what has no permission rule.
const Root = "root@pam"

// User is an account. Times are seconds since 1970, 0 = never.
type User struct {
	ID        string            `json:"id"`
	Password  string            `json:"password,omitempty"`
	Enabled   bool              `json:"enabled"`
	Expire    int64             `json:"expire"`
	Comment   string            `json:"comment,omitempty"`
	Email     string            `json:"email,omitempty"`
	FirstName string            `json:"firstname,omitempty"`
	LastName  string            `json:"lastname,omitempty"`
	Keys      string            `json:"keys,omitempty"`
	Groups    []string          `json:"groups,omitempty"`
	Tokens    map[string]*Token `json:"tokens,omitempty"`
	// HasEmail tells that an address was given, even an empty one: the API shows the field then.
	HasEmail bool `json:"hasEmail,omitempty"`
}

// Token is an API token of a user.
type Token struct {
	Secret    string `json:"secret"`
	Separated bool   `json:"privsep"`
	Expire    int64  `json:"expire"`
	Comment   string `json:"comment,omitempty"`
}

// Grant is one line of an access control list.
type Grant struct {
	Path      string `json:"path"`
	Kind      string `json:"kind"` // user, group or token
	Who       string `json:"who"`
	Role      string `json:"role"`
	Propagate bool   `json:"propagate"`
}

// Group is a set of users.
type Group struct {
	Comment string `json:"comment,omitempty"`
}

// State is what survives a restart.
type State struct {
	Users  map[string]*User    `json:"users"`
	Groups map[string]*Group   `json:"groups,omitempty"`
	Grants []Grant             `json:"grants"`
	Roles  map[string][]string `json:"roles,omitempty"` // own ones
	Key    []byte              `json:"key"`             // seed of the ticket signing key
}

// Control answers who may do what. It is safe for concurrent use.
type Control struct {
	Major int
	now   func() time.Time
	save  func() // called after each change, without the lock

	mu         sync.RWMutex
	state      State
	roles      map[string]map[string]bool
	privileges map[string]bool
	key        ed25519.PrivateKey
	expired    time.Time // tickets made before this moment are void
	lifetime   time.Duration
	pools      func(path string) string // pool of a /vms/N or /storage/S path
}

// Open restores the state, or makes one that holds only root@pam. pools maps an ACL path to the pool that its object is in ("" =
// none); save is called after each change.
func Open(major int, saved json.RawMessage, now func() time.Time, pools func(string) string, save func()) (*Control, error) {
	control := &Control{Major: major, now: now, save: save, pools: pools, lifetime: 2 * time.Hour}
	control.roles, control.privileges = builtinRoles(major)
	if len(saved) > 0 {
		if err := json.Unmarshal(saved, &control.state); err != nil {
			return nil, fmt.Errorf("read the saved users: %w", err)
		}
	}
	if control.state.Users == nil {
		seed := make([]byte, ed25519.SeedSize)
		if _, err := rand.Read(seed); err != nil {
			return nil, fmt.Errorf("make a ticket key: %w", err)
		}
		control.state = State{Key: seed, Users: map[string]*User{Root: {ID: Root, Enabled: true}}}
	}
	if control.state.Groups == nil {
		control.state.Groups = map[string]*Group{}
	}
	if control.state.Roles == nil {
		control.state.Roles = map[string][]string{}
	}
	for name, privileges := range control.state.Roles {
		control.roles[name] = map[string]bool{}
		for _, privilege := range privileges {
			control.roles[name][privilege] = true
		}
	}
	control.key = ed25519.NewKeyFromSeed(control.state.Key)
	return control, nil
}

// Marshal is the state to save.
func (c *Control) Marshal() (json.RawMessage, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return json.Marshal(c.state)
}

// change runs edit under the lock and saves when it succeeded.
func (c *Control) change(edit func(state *State) error) error {
	c.mu.Lock()
	err := edit(&c.state)
	c.mu.Unlock()
	if err == nil {
		c.save()
	}
	return err
}

// view runs read under the read lock.
func (c *Control) view(read func(state *State)) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	read(&c.state)
}

var pathText = regexp.MustCompile(`^[A-Za-z0-9._/\-]+$`)

// NormalizePath brings an ACL path to its form without double or trailing slashes; ok is false when it holds other characters.
func NormalizePath(path string) (normal string, ok bool) {
	path = "/" + strings.Trim(path, "/")
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	if !pathText.MatchString(path) {
		return "", false
	}
	return path, true
}

var validPaths = regexp.MustCompile(`^(/|/access(/groups(/[^/]+)?|/realm(/[^/]+)?)?|/nodes(/[^/]+)?|/pool(/[^/]+){0,3}|/sdn(/.*)?|/storage(/[^/]+)?|/vms(/[1-9]\d{2,8})?|/mapping(/[^/]+){0,2})$`)

// ValidPath tells whether an ACL may be set on the normalized path.
func ValidPath(path string) bool { return validPaths.MatchString(path) }

// Privileges returns what a user or token (user@realm!name) may do at path. The value tells whether the privilege is inherited by
// what lies below.
func (c *Control) Privileges(who, path string) map[string]bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.effective(who, path)
}

func (c *Control) effective(who, path string) map[string]bool {
	user, token, isToken := strings.Cut(who, "!")
	if !isToken {
		return c.direct(user, "", path)
	}
	account := c.state.Users[user]
	if account == nil || account.Tokens[token] == nil {
		return nil
	}
	if !account.Tokens[token].Separated {
		return c.direct(user, "", path)
	}
	own := c.direct(user, who, path)
	rights := c.direct(user, "", path)
	both := map[string]bool{}
	for privilege, propagate := range own {
		if inherited, ok := rights[privilege]; ok {
			both[privilege] = propagate && inherited
		}
	}
	return both
}

// direct walks the path from the root: the deepest level that says anything about the subject wins; at one level user entries win over
// group entries; NoAccess takes all away.
func (c *Control) direct(user, token, path string) map[string]bool {
	if user == Root && token == "" {
		all := make(map[string]bool, len(c.privileges))
		for privilege := range c.privileges {
			all[privilege] = true
		}
		return all
	}
	granted := map[string]bool{} // role → propagate
	levels := []string{"/"}
	if path != "/" {
		parts := strings.Split(strings.Trim(path, "/"), "/")
		for i := range parts {
			levels = append(levels, "/"+strings.Join(parts[:i+1], "/"))
		}
	}
	for _, level := range levels {
		if roles := c.rolesAt(user, token, level, level == path); len(roles) > 0 {
			granted = roles
		}
	}
	if _, denied := granted["NoAccess"]; denied {
		return nil
	}
	privileges := map[string]bool{}
	c.addRoles(privileges, granted)
	if c.pools != nil {
		if pool := c.pools(path); pool != "" {
			c.addPool(privileges, user, token, pool)
		}
	}
	return privileges
}

func (c *Control) addPool(privileges map[string]bool, user, token, pool string) {
	roles := c.rolesAt(user, token, "/pool/"+pool, false)
	if len(roles) == 0 {
		roles = c.rolesAt(user, token, "/pool", false)
	}
	if _, denied := roles["NoAccess"]; !denied {
		c.addRoles(privileges, roles)
	}
}

func (c *Control) addRoles(privileges map[string]bool, roles map[string]bool) {
	for role, propagate := range roles {
		for privilege := range c.roles[role] {
			privileges[privilege] = privileges[privilege] || propagate
		}
	}
}

func (c *Control) rolesAt(user, token, path string, exact bool) map[string]bool {
	own, grouped := map[string]bool{}, map[string]bool{}
	for _, grant := range c.state.Grants {
		if grant.Path != path || (!exact && !grant.Propagate) {
			continue
		}
		switch {
		case token != "" && grant.Kind == "token" && grant.Who == token:
			own[grant.Role] = grant.Propagate
		case token == "" && grant.Kind == "user" && grant.Who == user:
			own[grant.Role] = grant.Propagate
		case token == "" && grant.Kind == "group" && c.member(user, grant.Who):
			grouped[grant.Role] = grant.Propagate
		}
	}
	if len(own) > 0 {
		return own
	}
	return grouped
}

func (c *Control) member(user, group string) bool {
	account := c.state.Users[user]
	return account != nil && slices.Contains(account.Groups, group)
}

// superuser is root@pam or one of its tokens without privilege separation: no list of privileges is made for them.
func (c *Control) superuser(who string) bool {
	user, token, isToken := strings.Cut(who, "!")
	if user != Root || !isToken {
		return who == Root
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	known := c.state.Users[Root].Tokens[token]
	return known != nil && !known.Separated
}

// Has tells whether who holds all (or, with any, one) of the privileges at path.
func (c *Control) Has(who, path string, privileges []string, any bool) bool {
	if c.superuser(who) {
		return true
	}
	held := c.Privileges(who, path)
	for _, privilege := range privileges {
		_, ok := held[privilege]
		if ok && any {
			return true
		}
		if !ok && !any {
			return false
		}
	}
	return !any
}

// Check is Has as an error.
func (c *Control) Check(who, path string, privileges []string, any bool) error {
	normal, ok := NormalizePath(path)
	if any {
		if ok && c.Has(who, normal, privileges, true) {
			return nil
		}
		return apierror.Forbidden(normal + ", " + strings.Join(privileges, "|"))
	}
	for _, privilege := range privileges { // PVE names the first that is missing
		if !ok || !c.Has(who, normal, []string{privilege}, false) {
			return apierror.Forbidden(normal + ", " + privilege)
		}
	}
	return nil
}

// usable returns the account when it is there and may log in.
func (c *Control) usable(user string) *User {
	account := c.state.Users[user]
	if account == nil || !account.Enabled || (account.Expire > 0 && account.Expire < c.now().Unix()) {
		return nil
	}
	return account
}
