package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// maxValueLength bounds how much of a bad value an error repeats.
const maxValueLength = 80

// parse turns what a source gives into a value of the setting's type.
func (s setting) parse(value any) (any, error) {
	list, isList := value.([]string)
	text, _ := value.(string)
	if s.kind.Kind() == reflect.Slice && !readsText(s.kind) {
		if !isList {
			list = splitList(text)
		}
		return s.parseList(list)
	}
	if isList {
		return nil, errors.New("takes one value, not a list")
	}
	return s.parseText(text, s.kind)
}

func (s setting) parseList(texts []string) (any, error) {
	list := reflect.MakeSlice(s.kind, 0, len(texts))
	for _, text := range texts {
		value, err := s.parseText(text, s.kind.Elem())
		if err != nil {
			return nil, err
		}
		list = reflect.Append(list, reflect.ValueOf(value))
	}
	return list.Interface(), nil
}

// splitList reads the comma-separated form of flags and environment; empty text is the empty list.
func splitList(text string) []string {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	parts := strings.Split(text, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// parseText reads one value. Its errors repeat the value unless it is a secret.
func (s setting) parseText(text string, kind reflect.Type) (any, error) {
	target := reflect.New(kind)
	if reader, ok := target.Interface().(encoding.TextUnmarshaler); ok {
		if err := reader.UnmarshalText([]byte(text)); err != nil {
			return nil, s.reject(text, "is not valid here")
		}
		return target.Elem().Interface(), nil
	}
	value := target.Elem()
	switch {
	case kind == reflect.TypeFor[time.Duration]():
		duration, err := time.ParseDuration(text)
		if err != nil {
			return nil, s.reject(text, "is not a duration such as 10s, 5m or 24h")
		}
		value.SetInt(int64(duration))
	case s.size:
		bytes, err := humanize.ParseBytes(text)
		if err != nil || bytes > math.MaxInt64 || value.OverflowInt(int64(bytes)) {
			return nil, s.reject(text, "is not a size such as 512MiB or 256GiB")
		}
		value.SetInt(int64(bytes))
	case value.CanInt():
		number, err := strconv.ParseInt(text, 10, kind.Bits())
		if err != nil {
			return nil, s.reject(text, "is not a whole number")
		}
		value.SetInt(number)
	case value.CanUint():
		number, err := strconv.ParseUint(text, 10, kind.Bits())
		if err != nil {
			return nil, s.reject(text, "is not a whole number from 0 up")
		}
		value.SetUint(number)
	case value.CanFloat():
		number, err := strconv.ParseFloat(text, kind.Bits())
		if err != nil || math.IsNaN(number) || math.IsInf(number, 0) {
			return nil, s.reject(text, "is not a number")
		}
		value.SetFloat(number)
	case kind.Kind() == reflect.Bool:
		if text != "true" && text != "false" {
			return nil, s.reject(text, "is neither true nor false")
		}
		value.SetBool(text == "true")
	default:
		value.SetString(text)
	}
	return value.Interface(), nil
}

func (s setting) reject(text, why string) error {
	switch {
	case s.secret:
		return errors.New("its value " + why)
	case len(text) > maxValueLength:
		text = strings.ToValidUTF8(text[:maxValueLength], "") + "…"
	}
	return fmt.Errorf("%q %s", text, why)
}
