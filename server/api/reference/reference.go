// Package reference writes docs/api.md: each call of the route table with what it takes and one curl that works against `make demo`.
package reference

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"gantry/server/api/admin"
	"gantry/server/api/ams"
	"gantry/server/api/billing"
	"gantry/server/api/public"
	"gantry/server/api/route"
)

// Routes is the route table without anything behind it.
func Routes() []route.Route {
	forAdmins, forBilling := admin.Calls{Machines: &ams.Machines{}}, billing.Calls{Machines: &ams.Machines{}}
	var forAll public.Calls
	return slices.Concat(forAdmins.Routes(), forBilling.Routes(), forAll.Routes())
}

// Request is an example. "$VM" in it stands for the id of a machine.
type Request struct {
	Method string
	// Path begins with "/"; the secret path is $ADMIN in it.
	Path string
	Body map[string]any // nil = none
	List []any          // in place of Body where the call takes a JSON array
}

// Machine stands for the id of a machine in examples.
const Machine = "$VM"

// Example is one request of a call: its required fields, with what examples.go sets beside or instead.
func Example(each route.Route) (Request, error) {
	request := Request{Method: each.Methods[0], Path: strings.NewReplacer("{adminPath}", "$ADMIN", "{nodeType}", "pve", "{node}", "pve").Replace(each.Path)}
	own := examples[each.Name]
	if list, found := lists[each.Name]; found {
		request.List = list
		return request, nil
	}
	var query []string
	for _, field := range each.Fields() {
		value, set := own[field.Name]
		if !set && !field.Required {
			continue
		}
		if !set {
			value = usualFor(field)
		}
		switch field.In {
		case "path":
			request.Path = strings.ReplaceAll(request.Path, "{"+field.Name+"}", fmt.Sprint(value))
		case "query":
			query = append(query, fmt.Sprintf("%s=%v", field.Name, value))
		default:
			if request.Body == nil {
				request.Body = map[string]any{}
			}
			request.Body[field.Name] = value
		}
	}
	if len(query) > 0 {
		request.Path += "?" + strings.Join(query, "&")
	}
	return request, nil
}

// usualFor is a value by the field's name, else by what it takes.
func usualFor(field route.Field) any {
	if value, found := usual[field.Name]; found {
		return value
	}
	kind := field.Type
	if kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	switch {
	case len(field.OneOf) > 0:
		return field.OneOf[0]
	case kind.Kind() == reflect.String:
		return "example"
	case kind.Kind() == reflect.Bool:
		return true
	}
	return max(field.Low, 1)
}

// JSON is the body to send; "" for none.
func (r Request) JSON() (string, error) {
	var content any = r.Body
	if r.List != nil {
		content = r.List
	}
	if r.Body == nil && r.List == nil {
		return "", nil
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(content); err != nil {
		return "", err
	}
	return strings.TrimSpace(text.String()), nil
}

// curl writes a request as a command line.
func (r Request) curl(auth route.Auth) (string, error) {
	var line strings.Builder
	line.WriteString("curl -s")
	switch auth {
	case route.Admin:
		line.WriteString(` -H "Authorization: $TOKEN"`)
	case route.APIKey:
		line.WriteString(` -u "$KEY"`)
	}
	if r.Method != "GET" {
		line.WriteString(" -X " + r.Method)
	}
	fmt.Fprintf(&line, ` "$GANTRY%s"`, r.Path)
	body, err := r.JSON()
	if err != nil || body == "" {
		return line.String(), err
	}
	// Outside the single quotes the shell fills the id in.
	return line.String() + " -d '" + strings.ReplaceAll(body, `"`+Machine+`"`, `'`+Machine+`'`) + "'", nil
}

// Markdown writes the whole page.
func Markdown(routes []route.Route) ([]byte, error) {
	var page bytes.Buffer
	page.WriteString(introduction)
	groups := map[string][]route.Route{}
	for _, each := range routes {
		groups[each.Group] = append(groups[each.Group], each)
	}
	names := slices.SortedFunc(maps.Keys(groups), func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
	for _, name := range names {
		title, known := titles[name]
		if !known {
			return nil, fmt.Errorf("group %s has no title", name)
		}
		fmt.Fprintf(&page, "\n## %s\n", title)
		for _, each := range groups[name] {
			if err := describe(&page, each); err != nil {
				return nil, err
			}
		}
	}
	return page.Bytes(), nil
}

func describe(page *bytes.Buffer, each route.Route) error {
	request, err := Example(each)
	if err != nil {
		return err
	}
	line, err := request.curl(each.Auth)
	if err != nil {
		return err
	}
	methods := strings.Join(each.Methods, " or ")
	fmt.Fprintf(page, "\n### %s\n\n`%s %s`\n\n%s\n\n```sh\n%s\n```\n", each.Name, methods, each.Path, each.Summary, line)
	if len(each.Fields()) == 0 {
		return nil
	}
	page.WriteString("\n| field | in | |\n|---|---|---|\n")
	for _, field := range each.Fields() {
		name := "`" + field.Name + "`"
		if field.Required {
			name += " (required)"
		}
		fmt.Fprintf(page, "| %s | %s | %s |\n", name, field.In, strings.ReplaceAll(meaning(field), "|", "\\|"))
	}
	return nil
}

// meaning is what is known of a field: its text, what it takes and its bounds.
func meaning(field route.Field) string {
	parts := []string{}
	if field.Doc != "" {
		parts = append(parts, field.Doc)
	}
	if len(field.OneOf) > 0 {
		parts = append(parts, "one of "+strings.Join(field.OneOf, ", "))
	}
	if field.HasHigh && len(field.OneOf) == 0 {
		bound := fmt.Sprintf("at most %d", field.High)
		if field.Type.Kind().String() == "string" {
			bound += " characters"
		}
		parts = append(parts, bound)
	}
	return strings.Join(parts, "; ")
}
