package route

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// ReadNumber takes a whole number: 1, 1.0, "1" and " 1 ".
func ReadNumber(field string, value any) (int64, error) {
	text := ""
	switch known := value.(type) {
	case json.Number:
		text = known.String()
	case string:
		text = strings.TrimSpace(known)
	default:
		return 0, wrongType(field, "a whole number", "整数")
	}
	if len(text) > 40 {
		return 0, wrongType(field, "a whole number", "整数")
	}
	if number, err := strconv.ParseInt(text, 10, 64); err == nil {
		return number, nil
	}
	float, err := strconv.ParseFloat(text, 64)
	if err != nil || strings.ContainsAny(text, "xXpP_") || float != math.Trunc(float) || math.Abs(float) > 1<<53 {
		return 0, wrongType(field, "a whole number", "整数")
	}
	return int64(float), nil
}

// ReadBool takes true, 1, "true", "1" and their opposites.
func ReadBool(field string, value any) (bool, error) {
	switch known := value.(type) {
	case bool:
		return known, nil
	case json.Number:
		value = known.String()
	}
	text, isText := value.(string)
	if !isText {
		return false, wrongType(field, "true or false", " true 或 false")
	}
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, wrongType(field, "true or false", " true 或 false")
}

// ReadText takes a text or a number.
func ReadText(field string, value any) (string, error) {
	switch known := value.(type) {
	case string:
		return known, nil
	case json.Number:
		return known.String(), nil
	}
	return "", wrongType(field, "a text", "字符串")
}

// ReadMap takes an object, the same written as a JSON text (the documentation calls such fields strings), or a list, whose
// items are numbered from 1: that is how PHP writes a map with the keys 0, 1, ….
func ReadMap(field string, value any) (map[string]any, error) {
	switch known := value.(type) {
	case map[string]any:
		return known, nil
	case []any:
		result := make(map[string]any, len(known))
		for i, item := range known {
			result[strconv.Itoa(i+1)] = item
		}
		return result, nil
	case string:
		if strings.HasPrefix(strings.TrimSpace(known), "{") || strings.TrimSpace(known) == "[]" {
			return parseObject(field, []byte(known))
		}
	}
	return nil, wrongType(field, "an object", "对象")
}

// ReadList reads a JSON array of objects into requests, one each, as a request's own fields are read. At most so many are taken.
func ReadList[Item any](field string, value any, most int) ([]Item, error) {
	list, isList := value.([]any)
	if !isList {
		return nil, wrongType(field, "a JSON array", " JSON 数组")
	}
	if len(list) > most {
		return nil, unacceptable(field, fmt.Sprintf("must have %d items at most", most), fmt.Sprintf("最多 %d 项", most))
	}
	described, err := bind(reflect.TypeFor[Item](), fromBody)
	if err != nil {
		return nil, err
	}
	items := make([]Item, len(list))
	for i, each := range list {
		object, err := objectOf(fmt.Sprintf("%s[%d]", field, i), each)
		if err != nil {
			return nil, err
		}
		if err := described.fill(reflect.ValueOf(&items[i]).Elem(), &Input{Body: object}); err != nil {
			return nil, err
		}
	}
	return items, nil
}
