package schema

import (
	"errors"
	"fmt"
	"sort"
	"strings"
)

// ParsePropertyString splits PVE's key=value,key=value form by its format. Aliases are resolved, booleans become 0 or 1, and the
// value without key goes to the default key. The error is the text of PVE::JSONSchema::parse_property_string.
func ParsePropertyString(path string, format map[string]*Property, text string) (map[string]string, error) {
	defaultKey := ""
	for name, property := range format {
		if bool(property.DefaultKey) {
			defaultKey = name
		}
	}
	values := map[string]string{}
	for _, part := range strings.Split(text, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		key, value, found := strings.Cut(part, "=")
		switch {
		case found && key != "" && value != "":
			if err := setKey(values, format, key, value); err != nil {
				return nil, err
			}
		case !found && defaultKey == "":
			return nil, errors.New("value without key, but schema does not define a default key")
		case !found:
			if _, twice := values[defaultKey]; twice {
				return nil, fmt.Errorf("duplicate key in comma-separated list property: %s", defaultKey)
			}
			values[defaultKey] = part
		default:
			return nil, errors.New("missing key in comma-separated list property")
		}
	}
	if err := checkKeys(path, format, values); err != nil {
		return nil, err
	}
	return values, nil
}

func setKey(values map[string]string, format map[string]*Property, key, value string) error {
	if _, twice := values[key]; twice {
		return fmt.Errorf("duplicate key in comma-separated list property: %s", key)
	}
	property := format[key]
	if property != nil && property.Alias != "" {
		if property.KeyAlias != "" {
			if _, twice := values[property.KeyAlias]; twice {
				return fmt.Errorf("key alias '%s' is already defined", property.KeyAlias)
			}
			values[property.KeyAlias] = key
		}
		key = property.Alias
		property = format[key]
	}
	if property == nil {
		return fmt.Errorf("invalid key in comma-separated list property: %s", key)
	}
	if property.Type == "boolean" {
		value = boolean(value)
	}
	values[key] = value
	return nil
}

// boolean accepts the spellings that PVE takes inside property strings only.
func boolean(text string) string {
	switch strings.ToLower(text) {
	case "1", "on", "yes", "true":
		return "1"
	case "0", "off", "no", "false":
		return "0"
	}
	return text
}

func checkKeys(path string, format map[string]*Property, values map[string]string) error {
	problems := map[string]string{}
	for name, value := range values {
		if problem := checkText(path+"."+name, format[name], value); problem != "" {
			problems[path+"."+name] = problem
		}
		if other, ok := format[name].Requires.(string); ok && values[other] == "" {
			problems[path+"."+other] = fmt.Sprintf("missing property - '%s.%s' requires this property", path, name)
		}
	}
	for name, property := range format {
		if bool(property.Optional) || property.Alias != "" {
			continue
		}
		if _, given := values[name]; !given {
			problems[path+"."+name] = "property is missing and it is not optional"
		}
	}
	if len(problems) == 0 {
		return nil
	}
	names := make([]string, 0, len(problems))
	for name := range problems {
		names = append(names, name)
	}
	sort.Strings(names)
	var text strings.Builder
	text.WriteString("format error")
	for _, name := range names {
		text.WriteString("\n" + name + ": " + problems[name])
	}
	return errors.New(text.String())
}
