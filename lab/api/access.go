package api

import (
	"maps"
	"slices"
	"sort"
	"strings"

	"gantry/lab/access"
	"gantry/lab/apierror"
	"gantry/lab/schema"
)

var accessRoutes = map[string]handler{
	"GET /access": func(*Request) (any, error) {
		return subdirs("users", "groups", "roles", "acl", "domains", "openid", "tfa", "ticket", "password", "permissions"), nil
	},
	"GET /access/ticket":  func(*Request) (any, error) { return nil, nil },
	"POST /access/ticket": login,
	"PUT /access/password": func(r *Request) (any, error) {
		return nil, r.Cluster.Access.EditUser(r.Params.Str("userid"), func(user *access.User) { user.Password = r.Params.Str("password") })
	},
	"GET /access/permissions":                       permissions,
	"GET /access/users":                             listUsers,
	"POST /access/users":                            addUser,
	"GET /access/users/{userid}":                    getUser,
	"PUT /access/users/{userid}":                    editUser,
	"DELETE /access/users/{userid}":                 func(r *Request) (any, error) { return nil, r.Cluster.Access.RemoveUser(r.Params.Str("userid")) },
	"GET /access/users/{userid}/token":              listTokens,
	"GET /access/users/{userid}/token/{tokenid}":    getToken,
	"POST /access/users/{userid}/token/{tokenid}":   addToken,
	"PUT /access/users/{userid}/token/{tokenid}":    editToken,
	"DELETE /access/users/{userid}/token/{tokenid}": removeToken,
	"GET /access/groups":                            listGroups,
	"POST /access/groups": func(r *Request) (any, error) {
		return nil, r.Cluster.Access.SetGroup(r.Params.Str("groupid"), access.Group{Comment: r.Params.Str("comment")}, false)
	},
	"GET /access/groups/{groupid}": getGroup,
	"PUT /access/groups/{groupid}": func(r *Request) (any, error) {
		return nil, r.Cluster.Access.SetGroup(r.Params.Str("groupid"), access.Group{Comment: r.Params.Str("comment")}, true)
	},
	"DELETE /access/groups/{groupid}": func(r *Request) (any, error) { return nil, r.Cluster.Access.RemoveGroup(r.Params.Str("groupid")) },
	"GET /access/roles":               listRoles,
	"POST /access/roles": func(r *Request) (any, error) {
		return nil, r.Cluster.Access.SetRole(r.Params.Str("roleid"), schema.SplitList(r.Params.Str("privs")), false, false)
	},
	"GET /access/roles/{roleid}": getRole,
	"PUT /access/roles/{roleid}": func(r *Request) (any, error) {
		return nil, r.Cluster.Access.SetRole(r.Params.Str("roleid"), schema.SplitList(r.Params.Str("privs")), true, r.Params.Flag("append"))
	},
	"DELETE /access/roles/{roleid}": func(r *Request) (any, error) { return nil, r.Cluster.Access.RemoveRole(r.Params.Str("roleid")) },
	"GET /access/acl":               listACL,
	"PUT /access/acl":               setACL,
	"GET /access/domains":           listDomains,
	"GET /access/tfa":               func(*Request) (any, error) { return []any{}, nil },
}

func login(r *Request) (any, error) {
	control := r.Cluster.Access
	user, err := control.Login(r.Params.Str("username"), r.Params.Str("realm"), r.Params.Str("password"))
	if err != nil {
		return nil, apierror.New(401, "%s", err)
	}
	return map[string]any{"username": user, "ticket": control.Ticket(user), "CSRFPreventionToken": control.CSRF(user),
		"cap": capabilities(control, user)}, nil
}

// capabilities is compute_api_permission: which privileges the user has anywhere, by area.
func capabilities(control *access.Control, user string) map[string]map[string]int {
	areas := map[string][]string{"vms": {"VM."}, "access": {"User.", "Group."}, "storage": {"Datastore."}, "nodes": {"Sys."},
		"sdn": {"SDN."}, "dc": {"Sys.Audit", "Sys.Modify", "SDN."}, "mapping": {"Mapping."}}
	held := map[string]bool{}
	for _, path := range aclPaths(control) {
		maps.Copy(held, control.Privileges(user, path))
	}
	result := map[string]map[string]int{}
	for area, prefixes := range areas {
		result[area] = map[string]int{}
		for privilege := range held {
			matches := slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(privilege, prefix) })
			if matches || (privilege == "Permissions.Modify" && area != "dc") {
				result[area][privilege] = 1
			}
		}
	}
	return result
}

// aclPaths are the fixed paths and those that have a grant.
func aclPaths(control *access.Control) []string {
	paths := []string{"/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms", "/mapping"}
	for _, grant := range control.Grants() {
		if !slices.Contains(paths, grant.Path) {
			paths = append(paths, grant.Path)
		}
	}
	return paths
}

func permissions(r *Request) (any, error) {
	control, who := r.Cluster.Access, r.Params.Str("userid")
	own, _, _ := strings.Cut(r.User, "!")
	if who != "" && who != r.User && !strings.HasPrefix(who, own+"!") && who != own {
		if err := r.need("/access", "Sys.Audit"); err != nil {
			return nil, err
		}
	}
	if who == "" {
		who = r.User
	}
	paths := aclPaths(control)
	if path := r.Params.Str("path"); path != "" {
		paths = []string{path}
	}
	result := map[string]map[string]int{}
	for _, path := range paths {
		held := control.Privileges(who, path)
		if len(held) == 0 {
			continue
		}
		result[path] = map[string]int{}
		for privilege, propagate := range held {
			result[path][privilege] = flag(propagate)
		}
	}
	return result, nil
}

func realmType(user string) string {
	_, realm, _ := strings.Cut(user, "@")
	if realm == "pam" || realm == "pve" {
		return realm
	}
	return ""
}

func tokenRows(user access.User) []map[string]any {
	var rows []map[string]any
	for _, name := range slices.Sorted(maps.Keys(user.Tokens)) {
		row := tokenInfo(*user.Tokens[name])
		row["tokenid"] = name
		rows = append(rows, row)
	}
	return rows
}

func tokenInfo(token access.Token) map[string]any {
	row := map[string]any{"expire": token.Expire, "privsep": flag(token.Separated)}
	if token.Comment != "" {
		row["comment"] = token.Comment
	}
	return row
}

func listUsers(r *Request) (any, error) {
	rows := []map[string]any{}
	for _, user := range r.Cluster.Access.Users() {
		if !r.has("/access/groups", "User.Modify", "Sys.Audit") && user.ID != r.User {
			continue
		}
		row := map[string]any{"userid": user.ID, "enable": flag(user.Enabled), "expire": user.Expire}
		userFields(row, user)
		if kind := realmType(user.ID); kind != "" {
			row["realm-type"] = kind
		}
		if r.Params.Flag("full") {
			row["groups"], row["tokens"] = strings.Join(user.Groups, ","), tokenRows(user)
			if len(user.Tokens) == 0 {
				row["tokens"] = nil
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func userFields(row map[string]any, user access.User) {
	for name, value := range map[string]string{"comment": user.Comment, "email": user.Email, "firstname": user.FirstName,
		"lastname": user.LastName, "keys": user.Keys} {
		if value != "" || (name == "email" && user.HasEmail) {
			row[name] = value
		}
	}
}

func addUser(r *Request) (any, error) {
	user := access.User{ID: r.Params.Str("userid"), Enabled: true, Password: r.Params.Str("password")}
	setUserFields(&user, r.Params)
	return nil, r.Cluster.Access.AddUser(user)
}

func setUserFields(user *access.User, params schema.Params) {
	for name, target := range map[string]*string{"comment": &user.Comment, "email": &user.Email, "firstname": &user.FirstName,
		"lastname": &user.LastName, "keys": &user.Keys} {
		if params.Has(name) {
			*target = params.Str(name)
		}
	}
	if params.Has("enable") {
		user.Enabled = params.Flag("enable")
	}
	if params.Has("expire") {
		user.Expire = int64(params.Int("expire", 0))
	}
	if params.Has("groups") {
		groups := schema.SplitList(params.Str("groups"))
		if params.Flag("append") {
			groups = append(user.Groups, groups...)
		}
		user.Groups = groups
	}
	// An account that was written with any detail shows its (empty) address.
	user.HasEmail = user.HasEmail || user.Comment != "" || user.Email != ""
}

func editUser(r *Request) (any, error) {
	return nil, r.Cluster.Access.EditUser(r.Params.Str("userid"), func(user *access.User) { setUserFields(user, r.Params) })
}

func getUser(r *Request) (any, error) {
	user, err := r.Cluster.Access.User(r.Params.Str("userid"))
	if err != nil {
		return nil, err
	}
	tokens := map[string]any{}
	for name, token := range user.Tokens {
		tokens[name] = tokenInfo(*token)
	}
	groups := user.Groups
	if groups == nil {
		groups = []string{}
	}
	row := map[string]any{"enable": flag(user.Enabled), "expire": user.Expire, "groups": groups, "tokens": tokens}
	if len(tokens) == 0 {
		row["tokens"] = nil
	}
	userFields(row, user)
	return row, nil
}

func listTokens(r *Request) (any, error) {
	user, err := r.Cluster.Access.User(r.Params.Str("userid"))
	if err != nil {
		return nil, err
	}
	rows := tokenRows(user)
	if rows == nil {
		return []any{}, nil
	}
	return rows, nil
}

func getToken(r *Request) (any, error) {
	token, err := r.Cluster.Access.Token(r.Params.Str("userid"), r.Params.Str("tokenid"))
	if err != nil {
		return nil, err
	}
	return tokenInfo(token), nil
}

func addToken(r *Request) (any, error) {
	user, name := r.Params.Str("userid"), r.Params.Str("tokenid")
	token := access.Token{Separated: r.Params.Str("privsep") != "0", Expire: int64(r.Params.Int("expire", 0)), Comment: r.Params.Str("comment")}
	secret, err := r.Cluster.Access.AddToken(user, name, token)
	if err != nil {
		return nil, err
	}
	// The reply repeats the parameters as they came, as text.
	info := map[string]any{"privsep": "1"}
	for _, field := range []string{"privsep", "expire", "comment"} {
		if r.Params.Has(field) {
			info[field] = r.Params.Str(field)
		}
	}
	return map[string]any{"full-tokenid": user + "!" + name, "info": info, "value": secret}, nil
}

func editToken(r *Request) (any, error) {
	user, name := r.Params.Str("userid"), r.Params.Str("tokenid")
	err := r.Cluster.Access.EditToken(user, name, func(token *access.Token) {
		if r.Params.Has("comment") {
			token.Comment = r.Params.Str("comment")
		}
		if r.Params.Has("expire") {
			token.Expire = int64(r.Params.Int("expire", 0))
		}
		if r.Params.Has("privsep") {
			token.Separated = r.Params.Flag("privsep")
		}
	})
	if err != nil {
		return nil, err
	}
	return getToken(r)
}

func removeToken(r *Request) (any, error) {
	return nil, r.Cluster.Access.EditToken(r.Params.Str("userid"), r.Params.Str("tokenid"), nil)
}

func groupMembers(r *Request, group string) []string {
	members := []string{}
	for _, user := range r.Cluster.Access.Users() {
		if slices.Contains(user.Groups, group) {
			members = append(members, user.ID)
		}
	}
	return members
}

func listGroups(r *Request) (any, error) {
	rows := []map[string]any{}
	for name, group := range r.Cluster.Access.Groups() {
		if !r.has("/access/groups/"+name, "User.Modify", "Sys.Audit", "Group.Allocate") {
			continue
		}
		row := map[string]any{"groupid": name, "users": strings.Join(groupMembers(r, name), ",")}
		if group.Comment != "" {
			row["comment"] = group.Comment
		}
		rows = append(rows, row)
	}
	sort.Slice(rows, func(a, b int) bool { return rows[a]["groupid"].(string) < rows[b]["groupid"].(string) })
	return rows, nil
}

func getGroup(r *Request) (any, error) {
	name := r.Params.Str("groupid")
	group, known := r.Cluster.Access.Groups()[name]
	if !known {
		return nil, apierror.Die("group '%s' does not exist", name)
	}
	row := map[string]any{"members": groupMembers(r, name)}
	if group.Comment != "" {
		row["comment"] = group.Comment
	}
	return row, nil
}

func listRoles(r *Request) (any, error) {
	rows := []map[string]any{}
	for _, role := range r.Cluster.Access.Roles() {
		rows = append(rows, map[string]any{"roleid": role.Name, "privs": strings.Join(role.Privileges, ","), "special": flag(role.Special)})
	}
	return rows, nil
}

func getRole(r *Request) (any, error) {
	name := r.Params.Str("roleid")
	for _, role := range r.Cluster.Access.Roles() {
		if role.Name == name {
			privileges := map[string]int{}
			for _, privilege := range role.Privileges {
				privileges[privilege] = 1
			}
			return privileges, nil
		}
	}
	return nil, apierror.Die("role '%s' does not exist", name)
}

func listACL(r *Request) (any, error) {
	rows := []map[string]any{}
	for _, grant := range r.Cluster.Access.Grants() {
		if r.has("/access", "Sys.Audit", "Permissions.Modify") || r.has(grant.Path, "Permissions.Modify") {
			rows = append(rows, map[string]any{"path": grant.Path, "type": grant.Kind, "ugid": grant.Who, "roleid": grant.Role,
				"propagate": flag(grant.Propagate)})
		}
	}
	return rows, nil
}

func setACL(r *Request) (any, error) {
	path, ok := access.NormalizePath(r.Params.Str("path"))
	if !ok || !access.ValidPath(path) {
		return nil, apierror.Param("path", "invalid ACL path '%s'", r.Params.Str("path"))
	}
	propagate := r.Params.Str("propagate") != "0"
	subjects := map[string]string{"users": "user", "groups": "group", "tokens": "token"}
	given := false
	for parameter, kind := range subjects {
		for _, who := range schema.SplitList(r.Params.Str(parameter)) {
			given = true
			for _, role := range schema.SplitList(r.Params.Str("roles")) {
				grant := access.Grant{Path: path, Kind: kind, Who: who, Role: role, Propagate: propagate}
				if err := r.Cluster.Access.SetGrant(grant, r.Params.Flag("delete")); err != nil {
					return nil, err
				}
			}
		}
	}
	if !given {
		return nil, apierror.Params(map[string]string{"users": "either 'users', 'groups' or 'tokens' is required.",
			"groups": "either 'users', 'groups' or 'tokens' is required.", "tokens": "either 'users', 'groups' or 'tokens' is required."})
	}
	return nil, nil
}

func listDomains(r *Request) (any, error) {
	return []map[string]string{
		{"realm": "pam", "type": "pam", "comment": "Linux PAM standard authentication"},
		{"realm": "pve", "type": "pve", "comment": "Proxmox VE authentication server"},
	}, nil
}
