package config

import (
	"encoding"
	"fmt"
	"reflect"
	"sort"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/v2"
)

// keyDelimiter stands between the parts of a key.
const keyDelimiter = "."

// secretFileSuffix is put behind the key of a secret to name a file that holds it.
const secretFileSuffix = "_file"

// tagName is the struct tag that names a setting.
const tagName = "yaml"

// setting is one field that sources may set.
type setting struct {
	key    string
	kind   reflect.Type
	secret bool // its value is not repeated in errors
	size   bool // an integer that counts bytes: "256GiB" is understood
}

// settings are the fields of a Config struct by key.
type settings map[string]setting

// settingsOf lists the fields of a struct type. A type that the loader can't fill is an error, found by the first test.
func settingsOf(kind reflect.Type) (settings, error) {
	found := settings{}
	if kind.Kind() != reflect.Struct {
		return nil, fmt.Errorf("settings must be a struct, not %s", kind)
	}
	if err := found.collect(kind, ""); err != nil {
		return nil, err
	}
	variables := map[string]string{}
	for key := range found {
		variable := variableName("", key)
		if other, taken := variables[variable]; taken {
			return nil, fmt.Errorf("settings %s and %s have the same environment variable", key, other)
		}
		variables[variable] = key
	}
	return found, nil
}

func (s settings) collect(kind reflect.Type, prefix string) error {
	for i := range kind.NumField() {
		field := kind.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get(tagName), ",")
		switch {
		case name == "-" || (!field.IsExported() && !field.Anonymous):
			continue
		case field.Anonymous && name == "" && field.Type.Kind() == reflect.Struct:
			if err := s.collect(field.Type, prefix); err != nil {
				return err
			}
			continue
		case name == "":
			return fmt.Errorf("field %s.%s has no %s tag", kind, field.Name, tagName)
		}
		key := prefix + name
		if field.Type.Kind() == reflect.Struct {
			if err := s.collect(field.Type, key+keyDelimiter); err != nil {
				return err
			}
			continue
		}
		if !parsable(field.Type) {
			return fmt.Errorf("setting %s has type %s, which can't be loaded", key, field.Type)
		}
		s[key] = setting{
			key: key, kind: field.Type,
			secret: field.Tag.Get("secret") == "true",
			size:   strings.HasSuffix(name, "_bytes") && reflect.Zero(field.Type).CanInt(),
		}
	}
	return nil
}

// secretFile finds the secret whose "_file" key this is.
func (s settings) secretFile(key string) (setting, bool) {
	name, isFile := strings.CutSuffix(key, secretFileSuffix)
	set, ok := s[name]
	return set, isFile && ok && set.secret
}

// section tells whether keys start with this one: "tasks" is a section because of "tasks.per_node".
func (s settings) section(key string) bool {
	for each := range s {
		if strings.HasPrefix(each, key+keyDelimiter) {
			return true
		}
	}
	return false
}

// keys lists all that may be set, sorted.
func (s settings) keys() []string {
	var keys []string
	for key, set := range s {
		keys = append(keys, key)
		if set.secret {
			keys = append(keys, key+secretFileSuffix)
		}
	}
	sort.Strings(keys)
	return keys
}

// unknown says that nothing takes the key, and what was perhaps meant.
func (s settings) unknown(key string) string {
	if s.section(key) {
		return "is a section and has no value of its own"
	}
	if close := nearest(key, s.keys()); close != "" {
		return fmt.Sprintf("unknown setting, did you mean %s?", close)
	}
	return "unknown setting"
}

// nearest gives the candidate with the fewest typing mistakes from word; "" when all are too far to be meant. A candidate
// whose last part is the word is near, too: "per_node" means "tasks.per_node".
func nearest(word string, candidates []string) string {
	best, fewest := "", 2+len(word)/4
	for _, candidate := range candidates {
		if strings.HasSuffix(candidate, keyDelimiter+word) {
			return candidate
		}
		if distance := levenshtein.ComputeDistance(word, candidate); distance < fewest {
			best, fewest = candidate, distance
		}
	}
	return best
}

// cutKey splits "listen: must be address:port" behind a key that is known.
func (s settings) cutKey(text string) (key, rest string, ok bool) {
	key, rest, ok = strings.Cut(text, ": ")
	if !ok {
		return "", "", false
	}
	_, known := s[key]
	return key, rest, known
}

// readsText tells whether values of the type read themselves from text. Structs are left out, because koanf's copies lose
// their unexported fields (netip.Prefix): such a setting is a string that Validate parses.
func readsText(kind reflect.Type) bool {
	return kind.Kind() != reflect.Struct && reflect.PointerTo(kind).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// parsable tells whether parseText knows the type.
func parsable(kind reflect.Type) bool {
	if readsText(kind) {
		return true
	}
	switch kind.Kind() {
	case reflect.Slice:
		return kind.Elem().Kind() != reflect.Slice && parsable(kind.Elem())
	case reflect.String, reflect.Bool, reflect.Float64,
		reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	}
	return kind == reflect.TypeFor[time.Duration]()
}

// unmarshalInto lays typed values over the defaults: a list replaces the default list.
func unmarshalInto(target any) koanf.UnmarshalConf {
	return koanf.UnmarshalConf{
		Tag: tagName,
		DecoderConfig: &mapstructure.DecoderConfig{
			Result: target, TagName: tagName, ZeroFields: true, Squash: true, ErrorUnused: true,
		},
	}
}
