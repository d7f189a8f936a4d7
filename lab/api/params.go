package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"gantry/lab/apierror"
	"gantry/lab/schema"
)

// readParams merges query and body. Uploads are read by their handler.
func (s *Server) readParams(request *http.Request) (schema.Params, error) {
	params := schema.Params{}
	query, err := url.ParseQuery(request.URL.RawQuery)
	if err != nil {
		return nil, apierror.New(400, "bad query")
	}
	addForm(params, query)
	if request.ContentLength <= 0 {
		return params, nil
	}
	kind, _, err := mime.ParseMediaType(request.Header.Get("Content-Type"))
	if err != nil && request.Header.Get("Content-Type") != "" {
		kind = request.Header.Get("Content-Type")
	}
	if kind == "multipart/form-data" {
		return params, nil
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, apierror.New(400, "unable to read the body")
	}
	switch kind {
	case "application/json":
		return params, s.readJSON(params, body)
	case "", "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, apierror.New(400, "bad form")
		}
		addForm(params, form)
		return params, nil
	}
	message := fmt.Sprintf("upload 'Content-Type '%s' not implemented", kind)
	return nil, &apierror.Error{Status: 506, Message: message, PlainBody: true}
}

func addForm(params schema.Params, form url.Values) {
	for name, values := range form {
		if len(values) == 1 {
			params[name] = values[0]
			continue
		}
		list := make([]any, len(values))
		for i, value := range values {
			list[i] = value
		}
		params[name] = list
	}
}

func (s *Server) readJSON(params schema.Params, body []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var values map[string]any
	err := decoder.Decode(&values)
	var kind *json.UnmarshalTypeError
	if err != nil && !errors.As(err, &kind) {
		line := 934
		if s.Cluster.Major == 8 {
			line = 917
		}
		message := perlJSONError(body) + fmt.Sprintf(" at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line %d.\n", line)
		return &apierror.Error{Status: 500, Message: message, PlainBody: true}
	}
	for name, value := range values {
		params[name] = value
	}
	return nil
}

// perlJSONError is JSON::XS's complaint about the two things that clients get wrong: an object whose key is not quoted, and anything else.
func perlJSONError(body []byte) string {
	trimmed := strings.TrimSpace(string(body))
	if rest, object := strings.CutPrefix(trimmed, "{"); object && rest != "" && rest[0] != '"' {
		return fmt.Sprintf(`'"' expected, at character offset 1 (before "%s")`, rest)
	}
	return fmt.Sprintf(`malformed JSON string, neither tag, array, object, number, string or atom, at character offset 0 (before "%s")`, trimmed)
}
