package schema

import (
	"strconv"
)

// Params are a request's parameters after the check. Values are as in Check.
type Params map[string]any

// Has tells whether the parameter was given (null does not count).
func (p Params) Has(name string) bool { return p[name] != nil }

// Str returns the parameter's text, "" when it is missing.
func (p Params) Str(name string) string {
	text, _ := Text(p[name])
	return text
}

// Int returns an integer parameter, or fallback.
func (p Params) Int(name string, fallback int) int {
	number, err := strconv.Atoi(p.Str(name))
	if err != nil {
		return fallback
	}
	return number
}

// Flag returns a boolean parameter.
func (p Params) Flag(name string) bool { return p.Str(name) == "1" }

// Strings returns an array parameter; a single value is an array of one.
func (p Params) Strings(name string) []string {
	values, list := p[name].([]any)
	if !list {
		if !p.Has(name) {
			return nil
		}
		return []string{p.Str(name)}
	}
	texts := make([]string, 0, len(values))
	for _, value := range values {
		text, _ := Text(value)
		texts = append(texts, text)
	}
	return texts
}

// Texts are all scalar parameters but those named.
func (p Params) Texts(without ...string) map[string]string {
	texts := map[string]string{}
	for name, value := range p {
		if text, ok := Text(value); ok {
			texts[name] = text
		}
	}
	for _, name := range without {
		delete(texts, name)
	}
	return texts
}
