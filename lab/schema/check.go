package schema

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// indexed are the limits of PVE's numbered options: key prefix → highest number.
var indexed = map[string]int{
	"net": 31, "scsi": 30, "virtio": 15, "ide": 3, "sata": 5, "unused": 255, "ipconfig": 31, "serial": 3, "usb": 13,
	"hostpci": 15, "parallel": 2, "numa": 7, "virtiofs": 9, "mp": 255, "dev": 255, "link": 7, "acmedomain": 5,
}

var indexedKey = regexp.MustCompile(`^([a-z]+)(\d{1,3})$`)

// Property finds the schema of a parameter, also of a numbered one (net0 is described by net[n]).
func (m *Method) Property(name string) *Property {
	if property := m.Parameters[name]; property != nil {
		return property
	}
	parts := indexedKey.FindStringSubmatch(name)
	if parts == nil {
		return nil
	}
	number, err := strconv.Atoi(parts[2])
	if err != nil || number > indexed[parts[1]] || (len(parts[2]) > 1 && parts[2][0] == '0') {
		return nil
	}
	return m.Parameters[parts[1]+"[n]"]
}

// Check checks all parameters of a request and returns a text for each bad one. Values are strings, json.Number, bool, nil,
// []any or map[string]any.
func (m *Method) Check(values map[string]any) map[string]string {
	errors := map[string]string{}
	for name, value := range values {
		property := m.Property(name)
		if property == nil {
			if !bool(m.Additional) {
				errors[name] = "property is not defined in schema and the schema does not allow additional properties"
			}
			continue
		}
		if value == nil {
			continue
		}
		checkProperty(errors, name, property, value)
		if other, ok := property.Requires.(string); ok {
			if _, given := values[other]; !given {
				errors[other] = fmt.Sprintf("missing property - '%s' requires this property", name)
			}
		}
	}
	for name, property := range m.Parameters {
		if bool(property.Optional) || strings.HasSuffix(name, "[n]") {
			continue
		}
		if value, given := values[name]; !given || value == nil {
			errors[name] = "property is missing and it is not optional"
		}
	}
	return errors
}

var (
	integerText = regexp.MustCompile(`^[+-]?\d+$`)
	numberText  = regexp.MustCompile(`^([+-]?)(\d+(\.\d*)?|\.\d+)([Ee]([+-]?\d+))?$`)
)

// Text is the form in which a value reaches the checks and the handlers: JSON true is 1, numbers keep their digits, repeated form
// keys are joined by NUL as PVE does.
func Text(value any) (text string, scalar bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case bool:
		if v {
			return "1", true
		}
		return "0", true
	case json.Number:
		return v.String(), true
	case []any:
		parts := make([]string, 0, len(v))
		for _, item := range v {
			part, ok := Text(item)
			if !ok {
				return "", false
			}
			parts = append(parts, part)
		}
		return strings.Join(parts, "\x00"), true
	}
	return "", false
}

func checkProperty(errors map[string]string, path string, property *Property, value any) {
	if property.Type == "array" {
		items, ok := value.([]any)
		if !ok {
			items = []any{value}
		}
		for i, item := range items {
			if property.Items != nil {
				checkProperty(errors, fmt.Sprintf("%s[%d]", path, i), property.Items, item)
			}
		}
		return
	}
	text, scalar := Text(value)
	if !scalar {
		kind := "HASH"
		if _, list := value.([]any); list {
			kind = "ARRAY"
		}
		errors[path] = fmt.Sprintf("type check ('%s') failed - got %s", property.Type, kind)
		return
	}
	if problem := checkText(path, property, text); problem != "" {
		errors[path] = problem
	}
}

// checkText checks one scalar; the empty answer means that it is good.
func checkText(path string, property *Property, text string) string {
	switch property.Type {
	case "integer":
		if !integerText.MatchString(text) {
			return fmt.Sprintf("type check ('integer') failed - got '%s'", text)
		}
	case "number":
		if !numberText.MatchString(text) {
			return fmt.Sprintf("type check ('number') failed - got '%s'", text)
		}
	case "boolean":
		if text != "0" && text != "1" {
			return fmt.Sprintf("type check ('boolean') failed - got '%s'", text)
		}
		return ""
	}
	if property.Type == "string" || property.Type == "" {
		if problem := checkLength(property, text); problem != "" {
			return problem
		}
		if property.Pattern != "" && !pattern(property.Pattern).MatchString(text) {
			return "value does not match the regex pattern"
		}
	}
	if property.Format != nil {
		if err := property.Format.check(path, text); err != nil {
			return "invalid format - " + err.Error() + "\n"
		}
	}
	if property.Type == "integer" || property.Type == "number" {
		if problem := checkRange(property, text); problem != "" {
			return problem
		}
	}
	return checkEnum(property, text)
}

func checkLength(property *Property, text string) string {
	length := len([]rune(text))
	if property.MaxLength != nil && length > int(*property.MaxLength) {
		return fmt.Sprintf("value may only be %d characters long", int(*property.MaxLength))
	}
	if property.MinLength != nil && length < int(*property.MinLength) {
		return fmt.Sprintf("value must be at least %d characters long", int(*property.MinLength))
	}
	return ""
}

func checkRange(property *Property, text string) string {
	number, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return ""
	}
	if property.Minimum != nil && number < float64(*property.Minimum) {
		return "value must have a minimum value of " + strconv.FormatFloat(float64(*property.Minimum), 'f', -1, 64)
	}
	if property.Maximum != nil && number > float64(*property.Maximum) {
		return "value must have a maximum value of " + strconv.FormatFloat(float64(*property.Maximum), 'f', -1, 64)
	}
	return ""
}

func checkEnum(property *Property, text string) string {
	if len(property.Enum) == 0 {
		return ""
	}
	names := make([]string, len(property.Enum))
	for i, value := range property.Enum {
		names[i] = fmt.Sprint(value)
		if names[i] == text {
			return ""
		}
	}
	return fmt.Sprintf("value '%s' does not have a value in the enumeration '%s'", text, strings.Join(names, ", "))
}

var patterns sync.Map // Perl pattern → *regexp.Regexp

// pattern compiles a Perl pattern that must match the whole value. One that Go cannot express matches everything.
func pattern(perl string) *regexp.Regexp {
	if known, ok := patterns.Load(perl); ok {
		return known.(*regexp.Regexp)
	}
	compiled, err := regexp.Compile(`^(?:` + strings.ReplaceAll(perl, "(?^", "(?") + `)$`)
	if err != nil {
		compiled = regexp.MustCompile(``)
	}
	patterns.Store(perl, compiled)
	return compiled
}
