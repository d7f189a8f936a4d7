package route

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Bounds of requests.
const (
	MaxBody  = 1 << 20
	maxDepth = 16
)

// Input is a request before it is bound to a type.
type Input struct {
	Path  map[string]string
	Query map[string]any
	// Body is the JSON object or form that was sent; nil when there was none.
	Body map[string]any
	// List is the JSON array that was sent in place of an object; few calls take one.
	List []any
}

// ReadInput reads query and body. A body may be JSON (whatever its Content-Type says: curl and PHP often say nothing useful) or
// an HTML form; it is an object, at most MaxBody bytes and maxDepth levels deep.
func ReadInput(w http.ResponseWriter, r *http.Request, path map[string]string) (*Input, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &Problem{Code: CodeMalformed, Field: "query", English: "is not well formed", Chinese: "格式错误"}
	}
	input := &Input{Path: path, Query: flat(query)}
	if r.Method == http.MethodGet || r.Body == nil {
		return input, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return nil, &Problem{Code: CodeMalformed, Field: "body", English: "is larger than 1 MiB", Chinese: "超过 1 MiB"}
		}
		return nil, &Problem{Code: CodeMalformed, Field: "body", English: "could not be read", Chinese: "读取失败"}
	}
	return input, input.parseBody(body, r.Header.Get("Content-Type"))
}

func (i *Input) parseBody(body []byte, contentType string) error {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	if len(body) == 0 || bytes.Equal(body, []byte("null")) {
		return nil
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err == nil && media == "application/x-www-form-urlencoded" && body[0] != '{' && body[0] != '[' {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return &Problem{Code: CodeMalformed, Field: "body", English: "is not a well-formed form", Chinese: "表单格式错误"}
		}
		i.Body = flat(form)
		return nil
	}
	value, err := parseJSON("body", body)
	if err != nil {
		return err
	}
	if list, isList := value.([]any); isList && len(list) > 0 {
		i.List = list
		return nil
	}
	i.Body, err = objectOf("body", value)
	return err
}

// parseObject reads one JSON object. An empty list counts as an empty object: PHP writes an empty map that way.
func parseObject(field string, text []byte) (map[string]any, error) {
	value, err := parseJSON(field, text)
	if err != nil {
		return nil, err
	}
	return objectOf(field, value)
}

func parseJSON(field string, text []byte) (any, error) {
	if !shallow(text) {
		return nil, &Problem{Code: CodeMalformed, Field: field, English: "is nested too deeply", Chinese: "嵌套过深"}
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, &Problem{Code: CodeMalformed, Field: field, English: "is not valid JSON", Chinese: "不是有效的 JSON"}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, &Problem{Code: CodeMalformed, Field: field, English: "has more than one JSON value", Chinese: "包含多个 JSON 值"}
	}
	return value, nil
}

func objectOf(field string, value any) (map[string]any, error) {
	switch known := value.(type) {
	case map[string]any:
		return known, nil
	case []any:
		if len(known) == 0 {
			return map[string]any{}, nil
		}
	}
	return nil, wrongType(field, "a JSON object", " JSON 对象")
}

// shallow tells whether no value is nested more than maxDepth levels deep, without building anything.
func shallow(text []byte) bool {
	depth, quoted, escaped := 0, false, false
	for _, each := range text {
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = each == '\\', each != '"'
		case each == '"':
			quoted = true
		case each == '{' || each == '[':
			if depth++; depth > maxDepth {
				return false
			}
		case each == '}' || each == ']':
			depth--
		}
	}
	return true
}

// flat takes the first value of each name.
func flat(values url.Values) map[string]any {
	result := make(map[string]any, len(values))
	for name, each := range values {
		if len(each) > 0 {
			result[name] = each[0]
		}
	}
	return result
}

// find looks a name up, first as it is spelled, then without regard to case: the original's clients write nodeid, nodeId, hostid
// and hostId. ok is false for what is absent, null or the empty string.
func find(values map[string]any, name string, aliases []string) (any, bool) {
	for _, spelling := range append([]string{name}, aliases...) {
		if value, found := values[spelling]; found {
			return value, present(value)
		}
	}
	for key, value := range values {
		if strings.EqualFold(key, name) {
			return value, present(value)
		}
	}
	return nil, false
}

func present(value any) bool { return value != nil && value != "" }

// plainText tells that a text is UTF-8 without control characters; lines allows line breaks and tabs.
func plainText(text string, lines bool) bool {
	if !utf8.ValidString(text) {
		return false
	}
	for _, each := range text {
		if each == 0x7f || (each < 0x20 && (!lines || (each != '\n' && each != '\r' && each != '\t'))) {
			return false
		}
	}
	return true
}
