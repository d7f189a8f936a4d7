package route

import (
	"context"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"gantry/server/broker"
)

type sample struct {
	ID      int64  `json:"hostId" rule:"required,min=1"`
	Count   *int   `json:"count" rule:"min=0,max=9"`
	Name    string `json:"name" rule:"max=5"`
	Kind    string `json:"kind" one:"a|b"`
	Enabled *bool  `json:"enabled"`
	Lines   string `json:"lines" rule:"lines"`
	Size    int    `json:"size" alias:"limit" in:"query"`
}

func decode(t testing.TB, method, target, contentType, body string) (sample, error) {
	t.Helper()
	var got sample
	described := Of(Route{Methods: []string{method}, Path: "/x"}, func(_ context.Context, _ *Call, request sample) (Null, error) {
		got = request
		return nil, nil
	})
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	input, err := ReadInput(httptest.NewRecorder(), r, nil)
	if err != nil {
		return got, err
	}
	_, err = described.Serve(t.Context(), &Call{}, input)
	return got, err
}

func pointer[T any](value T) *T { return &value }

func TestRequestsAreReadAsTheOriginalsClientsSendThem(t *testing.T) {
	const json, form = "application/json", "application/x-www-form-urlencoded"
	for _, test := range []struct {
		name, method, target, contentType, body string
		want                                    sample
	}{
		{"numbers as numbers", "POST", "/x", json, `{"hostId":7,"count":3}`, sample{ID: 7, Count: pointer(3)}},
		{"numbers as texts", "POST", "/x", json, `{"hostId":"7","count":" 3 "}`, sample{ID: 7, Count: pointer(3)}},
		{"numbers as whole floats", "POST", "/x", json, `{"hostId":7.0,"count":3e0}`, sample{ID: 7, Count: pointer(3)}},
		{"texts as numbers", "POST", "/x", json, `{"hostId":7,"name":12.50}`, sample{ID: 7, Name: "12.50"}},
		{"true", "POST", "/x", json, `{"hostId":7,"enabled":true}`, sample{ID: 7, Enabled: pointer(true)}},
		{"1 for true", "POST", "/x", json, `{"hostId":7,"enabled":1}`, sample{ID: 7, Enabled: pointer(true)}},
		{"text for false", "POST", "/x", json, `{"hostId":7,"enabled":"false"}`, sample{ID: 7, Enabled: pointer(false)}},
		{"null is absent", "POST", "/x", json, `{"hostId":7,"count":null,"name":null,"enabled":null}`, sample{ID: 7}},
		{"empty text is absent", "POST", "/x", json, `{"hostId":7,"count":"","enabled":"","kind":""}`, sample{ID: 7}},
		{"unknown fields", "POST", "/x", json, `{"hostId":7,"whatever":{"a":[1]}}`, sample{ID: 7}},
		{"other case", "POST", "/x", json, `{"hostid":7,"COUNT":1}`, sample{ID: 7, Count: pointer(1)}},
		{"exact case wins", "POST", "/x", json, `{"hostid":7,"hostId":8,"HOSTID":9}`, sample{ID: 8}},
		{"no content type", "POST", "/x", "", `{"hostId":7}`, sample{ID: 7}},
		{"JSON under curl's content type", "POST", "/x", form, `{"hostId":7}`, sample{ID: 7}},
		{"byte order mark", "POST", "/x", json, "\xef\xbb\xbf{\"hostId\":7}", sample{ID: 7}},
		{"form", "POST", "/x", form, `hostId=7&count=2&enabled=1`, sample{ID: 7, Count: pointer(2), Enabled: pointer(true)}},
		{"query of a read", "GET", "/x?hostId=7&limit=50", "", "", sample{ID: 7, Size: 50}},
		{"query field in a body", "POST", "/x", json, `{"hostId":7,"size":"20"}`, sample{ID: 7, Size: 20}},
		{"query field in the query of a write", "DELETE", "/x?size=20", json, `{"hostId":7}`, sample{ID: 7, Size: 20}},
		{"line breaks where allowed", "POST", "/x", json, `{"hostId":7,"lines":"a\nb"}`, sample{ID: 7, Lines: "a\nb"}},
		{"length is of characters", "POST", "/x", json, `{"hostId":7,"name":"五个汉字啊"}`, sample{ID: 7, Name: "五个汉字啊"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := decode(t, test.method, test.target, test.contentType, test.body)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestBadRequestsNameTheField(t *testing.T) {
	for _, test := range []struct {
		name, body string
		code       int
		text       string
	}{
		{"missing", `{}`, CodeInvalid, "hostId: is required"},
		{"no body", ``, CodeInvalid, "hostId: is required"},
		{"null where required", `{"hostId":null}`, CodeInvalid, "hostId: is required"},
		{"word for number", `{"hostId":"seven"}`, CodeMalformed, "hostId: must be a whole number"},
		{"fraction", `{"hostId":1.5}`, CodeMalformed, "hostId: must be a whole number"},
		{"hex", `{"hostId":"0x10"}`, CodeMalformed, "hostId: must be a whole number"},
		{"huge number", `{"hostId":99999999999999999999999}`, CodeMalformed, "hostId: must be a whole number"},
		{"huge exponent", `{"hostId":1e400}`, CodeMalformed, "hostId: must be a whole number"},
		{"boolean for number", `{"hostId":true}`, CodeMalformed, "hostId: must be a whole number"},
		{"object for number", `{"hostId":{}}`, CodeMalformed, "hostId: must be a whole number"},
		{"too small", `{"hostId":0}`, CodeInvalid, "hostId: must be 1 at least"},
		{"too large", `{"hostId":1,"count":10}`, CodeInvalid, "count: must be between 0 and 9"},
		{"too long", `{"hostId":1,"name":"abcdef"}`, CodeInvalid, "name: must have 5 characters at most"},
		{"control character", `{"hostId":1,"name":"a\u0000"}`, CodeInvalid, "name: has control characters"},
		{"line break", `{"hostId":1,"name":"a\nb"}`, CodeInvalid, "name: has control characters"},
		{"list for text", `{"hostId":1,"name":["a"]}`, CodeMalformed, "name: must be a text"},
		{"boolean for text", `{"hostId":1,"name":true}`, CodeMalformed, "name: must be a text"},
		{"2 for boolean", `{"hostId":1,"enabled":2}`, CodeMalformed, "enabled: must be true or false"},
		{"not one of", `{"hostId":1,"kind":"c"}`, CodeInvalid, "kind: must be one of a, b"},
		{"not JSON", `{"hostId":`, CodeMalformed, "body: is not valid JSON"},
		{"two values", `{"hostId":1}{"hostId":2}`, CodeMalformed, "body: has more than one JSON value"},
		{"list", `[1]`, CodeMalformed, "body: must be a JSON object"},
		{"text", `"x"`, CodeMalformed, "body: must be a JSON object"},
		{"deep", strings.Repeat(`{"a":`, 17) + "1" + strings.Repeat("}", 17), CodeMalformed, "body: is nested too deeply"},
		{"large", `{"hostId":1,"name":"` + strings.Repeat("x", MaxBody) + `"}`, CodeMalformed, "body: is larger than 1 MiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := decode(t, "POST", "/x", "application/json", test.body)
			problem, ok := err.(*Problem)
			if !ok {
				t.Fatalf("error is %v, not a problem of a field", err)
			}
			if problem.Code != test.code || problem.Error() != test.text {
				t.Errorf("got %d %q, want %d %q", problem.Code, problem.Error(), test.code, test.text)
			}
			if chinese := problem.In(broker.Chinese); chinese == problem.Error() || !strings.HasPrefix(chinese, problem.Field+": ") {
				t.Errorf("Chinese text %q", chinese)
			}
		})
	}
}

func TestNestingInsideTextsDoesNotCount(t *testing.T) {
	body := `{"hostId":1,"lines":"` + strings.Repeat(`[{\"`, 100) + `"}`
	if _, err := decode(t, "POST", "/x", "application/json", body); err != nil {
		t.Error(err)
	}
}

func TestRoutesWithMistakesAreRefused(t *testing.T) {
	good := Route{Methods: []string{http.MethodGet}, Path: "/api/x", Auth: APIKey, Name: "x", Group: "g", Summary: "s"}
	write := good
	write.Methods = []string{http.MethodPost}
	outside := good
	outside.Auth = Admin
	inside := good
	inside.Path = "/{adminPath}/x"
	handler := func(context.Context, *Call, Nothing) (Null, error) { return nil, nil }
	if err := Of(good, handler).Check(); err != nil {
		t.Fatal(err)
	}
	for name, flawed := range map[string]Route{
		"no handler":                   good,
		"write without audit":          Of(write, handler),
		"admin call outside the path":  Of(outside, handler),
		"API key under the admin path": Of(inside, handler),
		"no name":                      Of(Route{Methods: good.Methods, Path: good.Path, Group: "g", Summary: "s"}, handler),
		"request is no struct":         Of(good, func(context.Context, *Call, int) (Null, error) { return nil, nil }),
		"field without a name":         Of(good, func(context.Context, *Call, struct{ A int }) (Null, error) { return nil, nil }),
		"field that can't be read": Of(good, func(context.Context, *Call, struct {
			A chan int `json:"a"`
		}) (Null, error) {
			return nil, nil
		}),
		"unknown rule": Of(good, func(context.Context, *Call, struct {
			A int `json:"a" rule:"even"`
		}) (Null, error) {
			return nil, nil
		}),
		"path field that is not in it": Of(good, func(context.Context, *Call, struct {
			A int `json:"a" in:"path"`
		}) (Null, error) {
			return nil, nil
		}),
	} {
		if flawed.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestErrorsHaveTheDocumentedCodes(t *testing.T) {
	plain := Route{}
	documented := Route{Refusals: map[broker.Reason]Refusal{broker.ReasonVMNotFound: {Code: CodeFailed, Text: "虚拟机不存在"}}}
	for _, test := range []struct {
		name     string
		route    Route
		err      error
		language broker.Language
		code     int
		text     string
	}{
		{"reason with a business code", plain, broker.Because(broker.NotFound, broker.ReasonVMNotFound, 7), broker.English, 1016, "virtual machine 7 does not exist"},
		{"in Chinese", plain, broker.Because(broker.NotFound, broker.ReasonVMNotFound, 7), broker.Chinese, 1016, "虚拟机 7 不存在"},
		{"the call's own documentation", documented, broker.Because(broker.NotFound, broker.ReasonVMNotFound, 7), broker.English, CodeFailed, "虚拟机不存在"},
		{"invalid field", plain, broker.InvalidField("mask", "no"), broker.English, CodeInvalid, "mask: no"},
		{"duplicate", plain, broker.Errorf(broker.Exists, "twice"), broker.English, CodeDuplicate, "twice"},
		{"host name taken, as the store says it", plain, &broker.Error{Kind: broker.Exists, Field: "hostname", Detail: "taken"}, broker.English, 1043, "hostname: taken"},
		{"wrapped", plain, broker.Wrap(broker.Errorf(broker.Conflict, "no"), "do it"), broker.English, CodeFailed, "no"},
		{"defect", plain, http.ErrBodyNotAllowed, broker.English, CodeInternal, ""},
		{"internal with detail", plain, &broker.Error{Kind: broker.Internal, Detail: "SELECT secret"}, broker.English, CodeInternal, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, text, internal := test.route.Refuse(test.err, test.language)
			if code != test.code || text != test.text || internal != (test.code == CodeInternal) {
				t.Errorf("got %d %q internal=%v, want %d %q", code, text, internal, test.code, test.text)
			}
		})
	}
}

func FuzzBody(f *testing.F) {
	for _, seed := range []string{`{"hostId":7}`, `[]`, `{"hostId":"7","count":1e2,"enabled":1}`, "hostId=7&count=%zz", `{"a":{"b":[{}]}}`, "\xff{}"} {
		f.Add(seed, "application/json")
		f.Add(seed, "application/x-www-form-urlencoded")
	}
	f.Fuzz(func(t *testing.T, body, contentType string) {
		got, err := decode(t, "POST", "/x", contentType, body)
		if err != nil {
			if problem, ok := err.(*Problem); !ok || problem.Field == "" || !utf8.ValidString(problem.Error()) {
				t.Fatalf("error %v does not name a field", err)
			}
			return
		}
		if got.ID < 1 || (got.Count != nil && (*got.Count < 0 || *got.Count > 9)) || utf8.RuneCountInString(got.Name) > 5 || strings.ContainsAny(got.Name, "\x00\n\r") {
			t.Fatalf("accepted %+v", got)
		}
	})
}

type line struct {
	ID   int64   `json:"id" rule:"required,min=1"`
	Note *string `json:"note" rule:"max=3"`
}

type lines []line

func (l *lines) ReadField(field string, value any) (err error) {
	*l, err = ReadList[line](field, value, 2)
	return err
}

func TestListsAreReadWhereACallTakesOne(t *testing.T) {
	type request struct {
		Lines lines `json:"body" in:"list" rule:"required"`
	}
	note := "abc"
	for name, test := range map[string]struct {
		body string
		want lines
		code int
		text string
	}{
		"list":              {`[{"id":"7"},{"id":8,"note":"abc"}]`, lines{{ID: 7}, {ID: 8, Note: &note}}, 0, ""},
		"object":            {`{"id":7}`, nil, CodeMalformed, "body: must be a JSON array"},
		"nothing":           {``, nil, CodeInvalid, "body: is required"},
		"empty list":        {`[]`, nil, CodeMalformed, "body: must be a JSON array"},
		"list of lists":     {`[[1]]`, nil, CodeMalformed, "body[0]: must be a JSON object"},
		"bad item":          {`[{"id":7},{"id":0}]`, nil, CodeInvalid, "id: must be 1 at least"},
		"too long a text":   {`[{"id":7,"note":"abcd"}]`, nil, CodeInvalid, "note: must have 3 characters at most"},
		"too many items":    {`[{"id":1},{"id":2},{"id":3}]`, nil, CodeInvalid, "body: must have 2 items at most"},
		"nested too deeply": {strings.Repeat("[", 17) + strings.Repeat("]", 17), nil, CodeMalformed, "body: is nested too deeply"},
		"something follows": {`[{"id":7}] x`, nil, CodeMalformed, "body: has more than one JSON value"},
		"list cut off":      {`[{"id":7}`, nil, CodeMalformed, "body: is not valid JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			var got lines
			described := Of(Route{Methods: []string{"PUT"}, Path: "/x"}, func(_ context.Context, _ *Call, request request) (Null, error) {
				got = request.Lines
				return nil, nil
			})
			input, err := ReadInput(httptest.NewRecorder(), httptest.NewRequest("PUT", "/x", strings.NewReader(test.body)), nil)
			if err == nil {
				_, err = described.Serve(t.Context(), &Call{}, input)
			}
			if test.text == "" {
				if err != nil || !reflect.DeepEqual(got, test.want) {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			problem, ok := err.(*Problem)
			if !ok || problem.Code != test.code || problem.Error() != test.text {
				t.Errorf("got %v, want %d %s", err, test.code, test.text)
			}
		})
	}
}
