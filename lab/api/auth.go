package api

import (
	"net/http"
	"net/url"
	"strings"

	"gantry/lab/access"
	"gantry/lab/apierror"
	"gantry/lab/schema"
)

// open are the calls that need no authentication.
func open(method, path string) bool {
	switch path {
	case "/access/ticket":
		return method == "GET" || method == "POST"
	case "/access/domains":
		return method == "GET"
	}
	return false
}

func unauthorized(reason string) error {
	return &apierror.Error{Status: 401, Message: reason + "\n", EmptyBody: true}
}

// rejected is the 401 for a credential that is not good: PVE 9 does not say why.
func (s *Server) rejected(reason string) error {
	if s.Cluster.Major >= 9 {
		reason = "Authentication failed!"
	}
	return unauthorized(reason)
}

// authenticate finds out who asks.
func (s *Server) authenticate(request *http.Request, path string) (user string, token bool, err error) {
	if open(request.Method, path) {
		return "", false, nil
	}
	authorization := request.Header.Get("Authorization")
	if text, ok := strings.CutPrefix(authorization, "PVEAPIToken="); ok {
		user, err := s.Cluster.Access.TokenUser(text)
		if err != nil {
			return "", false, s.rejected(err.Error())
		}
		return user, true, nil
	}
	ticket := cookie(request)
	if text, ok := strings.CutPrefix(authorization, "PVEAuthCookie="); ok {
		ticket = unescape(text)
	}
	if ticket == "" {
		return "", false, unauthorized("No ticket")
	}
	user, err = s.Cluster.Access.TicketUser(ticket)
	if err != nil {
		return "", false, s.rejected(err.Error())
	}
	if request.Method != "GET" && !s.Cluster.Access.CSRFValid(user, request.Header.Get("CSRFPreventionToken")) {
		return "", false, unauthorized("Permission denied - invalid csrf token")
	}
	return user, false, nil
}

// cookie reads the ticket from the Cookie header itself: Go's parser drops values with characters that PVE allows.
func cookie(request *http.Request) string {
	for _, line := range request.Header.Values("Cookie") {
		for pair := range strings.SplitSeq(line, ";") {
			if value, ok := strings.CutPrefix(strings.TrimSpace(pair), "PVEAuthCookie="); ok {
				return unescape(value)
			}
		}
	}
	return ""
}

func unescape(text string) string {
	plain, err := url.PathUnescape(text)
	if err != nil {
		return text
	}
	return plain
}

// permitted evaluates the method's permission rule.
func (s *Server) permitted(r *Request, method *schema.Method) error {
	rule := method.Permissions
	if r.User == access.Root {
		return nil
	}
	if rule == nil {
		return apierror.Forbidden("user != root@pam")
	}
	if rule.User == "world" || (rule.User == "all" && r.User != "") {
		return nil
	}
	if len(rule.Check) == 0 {
		return apierror.Forbidden("user != root@pam")
	}
	return s.evaluate(r, rule.Check)
}

// evaluate is PVE::RPCEnvironment::exec_api2_perm_check.
func (s *Server) evaluate(r *Request, check []any) error {
	kind, _ := check[0].(string)
	rest := check[1:]
	switch kind {
	case "and":
		for _, part := range rest {
			if err := s.evaluate(r, part.([]any)); err != nil {
				return err
			}
		}
		return nil
	case "or":
		for _, part := range rest {
			if s.evaluate(r, part.([]any)) == nil {
				return nil
			}
		}
		return apierror.Forbidden("")
	case "perm":
		return s.checkPerm(r, rest)
	case "perm-modify":
		return s.checkModify(r, fill(rest[0].(string), r.Params))
	case "userid-param":
		return s.checkUserParam(r, rest[0].(string))
	case "userid-group":
		return s.checkUserGroup(r, texts(rest[0]))
	}
	return apierror.Forbidden("")
}

// fill puts parameters into a path template.
func fill(template string, params schema.Params) string {
	var out strings.Builder
	for template != "" {
		before, after, found := strings.Cut(template, "{")
		out.WriteString(before)
		if !found {
			break
		}
		name, rest, _ := strings.Cut(after, "}")
		out.WriteString(params.Str(name))
		template = rest
	}
	return out.String()
}

func texts(list any) []string {
	values, _ := list.([]any)
	names := make([]string, 0, len(values))
	for _, value := range values {
		if name, ok := value.(string); ok {
			names = append(names, name)
		}
	}
	return names
}

func (s *Server) checkPerm(r *Request, rest []any) error {
	path := fill(rest[0].(string), r.Params)
	anyOf := false
	for i := 2; i+1 < len(rest); i += 2 {
		switch rest[i] {
		case "any":
			anyOf = true
		case "require_param":
			if name, _ := rest[i+1].(string); !r.Params.Has(name) {
				return apierror.Forbidden("")
			}
		}
	}
	return s.Cluster.Access.Check(r.User, path, texts(rest[1]), anyOf)
}

// checkModify is who may change the ACL of a path.
func (s *Server) checkModify(r *Request, path string) error {
	privileges := []string{"Permissions.Modify"}
	switch {
	case strings.HasPrefix(path, "/storage"):
		privileges = append(privileges, "Datastore.Allocate")
	case strings.HasPrefix(path, "/vms"):
		privileges = append(privileges, "VM.Allocate")
	case strings.HasPrefix(path, "/pool"):
		privileges = append(privileges, "Pool.Allocate")
	}
	return s.Cluster.Access.Check(r.User, path, privileges, true)
}

func (s *Server) checkUserParam(r *Request, what string) error {
	user := r.Params.Str("userid")
	own, _, _ := strings.Cut(r.User, "!")
	if what == "self" {
		if user == own {
			return nil
		}
		return apierror.Forbidden("")
	}
	_, realm, _ := strings.Cut(user, "@")
	return s.Cluster.Access.Check(r.User, "/access/realm/"+realm, []string{what}, false)
}

// checkUserGroup: rights over the user through /access/groups or one of the user's groups.
func (s *Server) checkUserGroup(r *Request, privileges []string) error {
	control := s.Cluster.Access
	if control.Has(r.User, "/access/groups", privileges, true) {
		return nil
	}
	if user, err := control.User(r.Params.Str("userid")); err == nil {
		for _, group := range user.Groups {
			if control.Has(r.User, "/access/groups/"+group, privileges, true) {
				return nil
			}
		}
	}
	return apierror.Forbidden("/access/groups, " + strings.Join(privileges, "|"))
}

// has is a quiet check.
func (r *Request) has(path string, privileges ...string) bool {
	return r.User == access.Root || r.Cluster.Access.Has(r.User, path, privileges, true)
}

// need is a check that ends the call.
func (r *Request) need(path string, privileges ...string) error {
	if r.User == access.Root {
		return nil
	}
	return r.Cluster.Access.Check(r.User, path, privileges, true)
}
