package access

import (
	"maps"
	"slices"
	"sort"
	"strings"

	"gantry/lab/apierror"
)

func noSuchUser(id string) error { return apierror.Die("no such user ('%s')", id) }

func noSuchToken(user, name string) error {
	return apierror.Die("no such token '%s' for user '%s'", name, user)
}

// AddUser adds an account.
func (c *Control) AddUser(user User) error {
	return c.change(func(state *State) error {
		if state.Users[user.ID] != nil {
			return apierror.Die("create user failed: user '%s' already exists", user.ID)
		}
		state.Users[user.ID] = &user
		return nil
	})
}

// EditUser changes an account in place.
func (c *Control) EditUser(id string, edit func(user *User)) error {
	return c.change(func(state *State) error {
		if state.Users[id] == nil {
			return noSuchUser(id)
		}
		edit(state.Users[id])
		return nil
	})
}

// RemoveUser deletes an account with its tokens and grants.
func (c *Control) RemoveUser(id string) error {
	return c.change(func(state *State) error {
		if state.Users[id] == nil {
			return noSuchUser(id)
		}
		delete(state.Users, id)
		state.Grants = slices.DeleteFunc(state.Grants, func(grant Grant) bool {
			return grant.Who == id || strings.HasPrefix(grant.Who, id+"!")
		})
		return nil
	})
}

// User returns a copy of an account.
func (c *Control) User(id string) (User, error) {
	var found *User
	c.view(func(state *State) {
		if user := state.Users[id]; user != nil {
			copied := *user
			copied.Tokens = maps.Clone(user.Tokens)
			found = &copied
		}
	})
	if found == nil {
		return User{}, noSuchUser(id)
	}
	return *found, nil
}

// Users lists all accounts by name.
func (c *Control) Users() []User {
	var users []User
	c.view(func(state *State) {
		for _, id := range sortedKeys(state.Users) {
			copied := *state.Users[id]
			copied.Tokens = maps.Clone(copied.Tokens)
			users = append(users, copied)
		}
	})
	return users
}

// AddToken adds an API token and returns its secret.
func (c *Control) AddToken(user, name string, token Token) (string, error) {
	if token.Secret == "" {
		token.Secret = NewSecret()
	}
	err := c.change(func(state *State) error {
		account := state.Users[user]
		if account == nil {
			return noSuchUser(user)
		}
		if account.Tokens[name] != nil {
			return apierror.Param("tokenid", "Token already exists.")
		}
		if account.Tokens == nil {
			account.Tokens = map[string]*Token{}
		}
		account.Tokens[name] = &token
		return nil
	})
	return token.Secret, err
}

// Token returns a copy of a token.
func (c *Control) Token(user, name string) (Token, error) {
	account, err := c.User(user)
	if err != nil {
		return Token{}, err
	}
	if account.Tokens[name] == nil {
		return Token{}, noSuchToken(user, name)
	}
	return *account.Tokens[name], nil
}

// EditToken changes a token; a nil edit deletes it with its grants.
func (c *Control) EditToken(user, name string, edit func(token *Token)) error {
	return c.change(func(state *State) error {
		account := state.Users[user]
		if account == nil {
			return noSuchUser(user)
		}
		if account.Tokens[name] == nil {
			return noSuchToken(user, name)
		}
		if edit != nil {
			edit(account.Tokens[name])
			return nil
		}
		delete(account.Tokens, name)
		state.Grants = slices.DeleteFunc(state.Grants, func(grant Grant) bool { return grant.Who == user+"!"+name })
		return nil
	})
}

// Groups lists the groups.
func (c *Control) Groups() map[string]Group {
	groups := map[string]Group{}
	c.view(func(state *State) {
		for name, group := range state.Groups {
			groups[name] = *group
		}
	})
	return groups
}

// SetGroup adds a group, or changes it when it must exist.
func (c *Control) SetGroup(name string, group Group, exists bool) error {
	return c.change(func(state *State) error {
		if !exists && state.Groups[name] != nil {
			return apierror.Die("create group failed: group '%s' already exists", name)
		}
		if exists && state.Groups[name] == nil {
			return apierror.Die("group '%s' does not exist", name)
		}
		state.Groups[name] = &group
		return nil
	})
}

// RemoveGroup deletes a group with its grants.
func (c *Control) RemoveGroup(name string) error {
	return c.change(func(state *State) error {
		if state.Groups[name] == nil {
			return apierror.Die("delete group failed: group '%s' does not exist", name)
		}
		delete(state.Groups, name)
		state.Grants = slices.DeleteFunc(state.Grants, func(grant Grant) bool { return grant.Kind == "group" && grant.Who == name })
		return nil
	})
}

// Roles lists all roles by name.
func (c *Control) Roles() []Role {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var roles []Role
	for _, name := range sortedKeys(c.roles) {
		_, own := c.state.Roles[name]
		roles = append(roles, Role{Name: name, Privileges: sortedKeys(c.roles[name]), Special: !own})
	}
	return roles
}

// SetRole adds or replaces an own role. Unknown privileges are refused.
func (c *Control) SetRole(name string, privileges []string, exists, add bool) error {
	return c.change(func(state *State) error {
		if !exists && c.roles[name] != nil {
			return apierror.Die("create role failed: role '%s' already exists", name)
		}
		if exists && c.roles[name] == nil {
			return apierror.Die("role '%s' does not exist", name)
		}
		if _, own := state.Roles[name]; exists && !own {
			return apierror.Die("auto-generated role '%s' cannot be modified", name)
		}
		set := map[string]bool{}
		if add {
			for privilege := range c.roles[name] {
				set[privilege] = true
			}
		}
		for _, privilege := range privileges {
			if !c.privileges[privilege] {
				return apierror.Die("create role failed: invalid privilege '%s'", privilege)
			}
			set[privilege] = true
		}
		c.roles[name], state.Roles[name] = set, sortedKeys(set)
		return nil
	})
}

// RemoveRole deletes an own role with its grants.
func (c *Control) RemoveRole(name string) error {
	return c.change(func(state *State) error {
		if c.roles[name] == nil {
			return apierror.Die("delete role failed: role '%s' does not exist", name)
		}
		if _, own := state.Roles[name]; !own {
			return apierror.Die("auto-generated role '%s' cannot be deleted", name)
		}
		delete(c.roles, name)
		delete(state.Roles, name)
		state.Grants = slices.DeleteFunc(state.Grants, func(grant Grant) bool { return grant.Role == name })
		return nil
	})
}

// Grants lists the access control list by path.
func (c *Control) Grants() []Grant {
	var grants []Grant
	c.view(func(state *State) { grants = slices.Clone(state.Grants) })
	sort.SliceStable(grants, func(a, b int) bool { return grants[a].Path < grants[b].Path })
	return grants
}

// SetGrant adds a grant, or removes it.
func (c *Control) SetGrant(grant Grant, remove bool) error {
	return c.change(func(state *State) error {
		if c.roles[grant.Role] == nil {
			return apierror.Die("ACL update failed: role '%s' does not exist", grant.Role)
		}
		if !subjectExists(state, grant) {
			return apierror.Die("ACL update failed: %s '%s' does not exist", grant.Kind, grant.Who)
		}
		state.Grants = slices.DeleteFunc(state.Grants, func(old Grant) bool {
			return old.Path == grant.Path && old.Kind == grant.Kind && old.Who == grant.Who && old.Role == grant.Role
		})
		if !remove {
			state.Grants = append(state.Grants, grant)
		}
		return nil
	})
}

func subjectExists(state *State, grant Grant) bool {
	switch grant.Kind {
	case "group":
		return state.Groups[grant.Who] != nil
	case "token":
		user, name, _ := strings.Cut(grant.Who, "!")
		return state.Users[user] != nil && state.Users[user].Tokens[name] != nil
	}
	return state.Users[grant.Who] != nil
}
