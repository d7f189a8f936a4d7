package api_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"gantry/server/api"
	"gantry/server/api/ams"
	"gantry/server/api/route"
)

// sent is a request of a route: the values of its fields by name, absent where nil.
type sent map[string]any

// acceptable gives every required field of a route a value that passes; false where a field reads itself in a way of its own.
func acceptable(each route.Route) (sent, bool) {
	values := sent{}
	for _, field := range each.Fields() {
		if !field.Required {
			continue
		}
		value, known := valueFor(field)
		if !known {
			return nil, false
		}
		values[field.Name] = value
	}
	return values, true
}

func valueFor(field route.Field) (any, bool) {
	switch kind := plainType(field); {
	case kind == reflect.TypeFor[ams.Timestamp]():
		return 4102444800, true
	case readsItself(field):
		return nil, false
	case kind.Kind() == reflect.String && len(field.OneOf) > 0:
		return field.OneOf[0], true
	case kind.Kind() == reflect.String:
		return strings.Repeat("x", int(max(field.Low, 1))), true
	case kind.Kind() == reflect.Bool:
		return true, true
	}
	return max(field.Low, 1), true
}

func plainType(field route.Field) reflect.Type {
	if field.Type.Kind() == reflect.Pointer {
		return field.Type.Elem()
	}
	return field.Type
}

func readsItself(field route.Field) bool {
	return reflect.PointerTo(plainType(field)).Implements(reflect.TypeFor[route.Reader]())
}

// call sends a route's request with the credential that it needs.
func (f *fixture) call(t *testing.T, each route.Route, values sent, authorization string) reply {
	t.Helper()
	path := strings.NewReplacer("{adminPath}", adminPath, "{nodeType}", "pve", "{node}", "pve").Replace(each.Path)
	query, body := url.Values{}, map[string]any{}
	for _, field := range each.Fields() {
		value, given := values[field.Name]
		if !given {
			value = ""
			if field.In != "path" {
				continue
			}
		}
		switch field.In {
		case "path":
			path = strings.ReplaceAll(path, "{"+field.Name+"}", url.PathEscape(fmt.Sprint(value)))
		case "query":
			query.Set(field.Name, fmt.Sprint(value))
		default:
			body[field.Name] = value
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	text := ""
	if each.Writes() {
		encoded, err := json.Marshal(body)
		check(t, err)
		text = string(encoded)
	}
	header := map[string]string{}
	if authorization != "" {
		header["Authorization"] = authorization
	}
	return f.send(t, each.Methods[0], path, header, text)
}

func (f *fixture) credential(each route.Route) string {
	switch each.Auth {
	case route.Admin:
		return f.token
	case route.APIKey:
		return f.basic
	}
	return ""
}

// badValues are what a field does not take, by what is wrong with it.
func badValues(field route.Field) map[string]any {
	bad := map[string]any{}
	if readsItself(field) {
		return bad
	}
	inBody := field.In != "path" && field.In != "query"
	switch plainType(field).Kind() {
	case reflect.String:
		if field.HasHigh && field.In != "path" {
			bad["too long"] = strings.Repeat("x", int(field.High)+1)
		}
		if field.HasLow && field.Low > 1 {
			bad["too short"] = strings.Repeat("x", int(field.Low)-1)
		}
		if len(field.OneOf) > 0 {
			bad["none of the allowed"] = "abacus"
		}
		if inBody {
			bad["of another type"] = []any{}
		}
	case reflect.Bool:
		bad["of another type"] = "perhaps"
	default:
		bad["of another type"], bad["broken"] = "one", "1.5"
		if field.HasLow {
			bad["too small"] = strconv.FormatInt(field.Low-1, 10)
		}
		if field.HasHigh {
			bad["too large"] = strconv.FormatInt(field.High+1, 10)
		}
	}
	return bad
}

// TestEveryCallRefusesBadInput walks the route table: each call, each field, each way to be wrong. The answer names the field, and
// nothing is changed.
func TestEveryCallRefusesBadInput(t *testing.T) {
	f := stocked(t)
	f.order(t, `{"nodeid":1,"os":1}`)
	before := f.reserved(t)
	tried := 0
	for _, each := range f.handler.Routes() {
		good, complete := acceptable(each)
		if !complete {
			continue
		}
		for _, field := range each.Fields() {
			cases := badValues(field)
			if field.Required && field.In != "path" {
				cases["missing"] = nil
			}
			for wrong, value := range cases {
				values := sent{}
				for name, other := range good {
					values[name] = other
				}
				if values[field.Name] = value; value == nil {
					delete(values, field.Name)
				}
				got := f.call(t, each, values, f.credential(each))
				tried++
				if got.status != 200 || got.Code != route.CodeMalformed && got.Code != route.CodeInvalid || !strings.HasPrefix(got.Message, field.Name+": ") {
					t.Errorf("%s: %s %s: %d %s", each.Name, field.Name, wrong, got.status, got.text)
				}
			}
		}
	}
	if now := f.reserved(t); now != before {
		t.Errorf("reserved %+v, was %+v", now, before)
	}
	if tried < 800 {
		t.Errorf("%d requests: the walk has lost its way", tried)
	}
	if defects := f.errors(); defects != "" {
		t.Errorf("defects: %s", defects)
	}
}

// TestEveryCallRefusesWrongCredentials does so before it looks at the request.
func TestEveryCallRefusesWrongCredentials(t *testing.T) {
	f := stocked(t)
	before := f.reserved(t)
	for _, each := range f.handler.Routes() {
		if each.Auth == route.Public {
			continue
		}
		values, _ := acceptable(each)
		for name, authorization := range map[string]string{
			"none": "", "a token that was changed": f.token + "x", "a wrong secret": basicHeader("1690208651216", "wrong"), "no words": "Basic %%%",
			"the other surface's": map[route.Auth]string{route.Admin: f.basic, route.APIKey: f.token}[each.Auth],
		} {
			got := f.call(t, each, values, authorization)
			if got.Code != route.CodeUnauthenticated || string(got.Data) != "" && string(got.Data) != "null" {
				t.Errorf("%s with %s: %d %s", each.Name, name, got.status, got.text)
			}
		}
	}
	if now := f.reserved(t); now != before {
		t.Errorf("reserved %+v, was %+v", now, before)
	}
}

// TestEveryCallAboutAMachineKnowsNoOther: an id that nobody has, and to a key the id of another's machine.
func TestEveryCallAboutAMachineKnowsNoOther(t *testing.T) {
	f := stocked(t)
	vm := f.ordered(t, nil)
	key, secret, err := f.accounts.NewAPIKey(t.Context(), "another")
	check(t, err)
	stranger := basicHeader(key.AppID, secret)
	tried := 0
	for _, each := range f.handler.Routes() {
		values, complete := acceptable(each)
		if _, about := values["hostId"]; !complete || !about {
			continue
		}
		tried++
		requests := map[string]struct {
			host          int64
			authorization string
		}{"an unknown machine": {999999, f.credential(each)}}
		if each.Auth == route.APIKey {
			requests["another's machine"] = struct {
				host          int64
				authorization string
			}{vm.ID, stranger}
		}
		for name, request := range requests {
			values["hostId"] = request.host
			got := f.call(t, each, values, request.authorization)
			if refusal, documented := each.Refusals["vm_not_found"]; got.Code != 1016 && !(documented && got.Code == refusal.Code) {
				t.Errorf("%s with %s: %s", each.Name, name, got.text)
			}
		}
	}
	if tried < 20 {
		t.Errorf("%d calls: the walk has lost its way", tried)
	}
	if after := f.vm(t, vm.ID); after.TaskID != nil || after.Status != vm.Status {
		t.Errorf("changed: %+v", after)
	}
}

// TestEveryReadingCallAnswersWhileTheHypervisorHangs: with stored data or with a clear error, in bounded time, never as a defect.
func TestEveryReadingCallAnswersWhileTheHypervisorHangs(t *testing.T) {
	// Long enough for the database of a busy machine, many times shorter than the test's own patience.
	f := stocked(t, func(config *api.Config) { config.Timeout = time.Second })
	vm := f.ordered(t, nil)
	f.fleet.hangs.Store(true)
	for _, each := range f.handler.Routes() {
		values, complete := acceptable(each)
		if each.Writes() || !complete || each.Auth == route.Public || strings.Contains(strings.ToLower(each.Name), "event") {
			continue
		}
		if _, about := values["hostId"]; about {
			values["hostId"] = vm.ID
		}
		got := f.call(t, each, values, f.credential(each))
		if got.status != 200 || got.Code == 0 || got.Code == route.CodeInternal {
			t.Errorf("%s: %d %s", each.Name, got.status, got.text)
		}
	}
	if defects := f.errors(); defects != "" {
		t.Errorf("defects: %s", defects)
	}
}
