package route

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

type source string

const (
	fromPath  source = "path"
	fromQuery source = "query"
	fromBody  source = "body"
	// fromList is the field that takes the whole body where that is a JSON array.
	fromList source = "list"
)

// defaultMost bounds texts whose field sets no bound of its own.
const defaultMost = 1024

// Reader is a field type that reads itself from a JSON value or text: string, json.Number, bool, map[string]any, []any.
// Errors are *Problem.
type Reader interface {
	ReadField(field string, value any) error
}

// Field describes one input for documentation. The tags of a request type's field:
//
//	json:"nodeid"        the name; spelling is matched first exactly, then without regard to case
//	alias:"limit,rows"   other names
//	in:"path"            path or query where the default (query for GET, else body) is not meant; list for a Reader that takes the
//	                     whole body, which is a JSON array then
//	rule:"required,min=1,max=100"   bounds: of the value for numbers, of the length for texts; lines allows line breaks
//	one:"linux|windows"  the only texts allowed
//	doc:"…"              for people
type Field struct {
	Name     string
	Aliases  []string
	In       string
	Type     reflect.Type
	Required bool
	// Low and High bound numbers and lengths; bounded only when HasLow or HasHigh.
	Low, High       int64
	HasLow, HasHigh bool
	OneOf           []string
	Doc             string
}

type boundField struct {
	Field
	index []int
	lines bool
	set   func(target reflect.Value, field *boundField, value any) error
}

type binding struct{ fields []boundField }

// bind works out once how a request type is filled.
func bind(request reflect.Type, otherwise source) (*binding, error) {
	if request.Kind() != reflect.Struct {
		return nil, fmt.Errorf("request type %s is not a struct", request)
	}
	result := &binding{}
	for _, member := range reflect.VisibleFields(request) {
		if member.Anonymous || !member.IsExported() {
			continue
		}
		field, err := describe(member, otherwise)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", member.Name, err)
		}
		result.fields = append(result.fields, field)
	}
	return result, nil
}

func describe(member reflect.StructField, otherwise source) (boundField, error) {
	field := boundField{index: member.Index, Field: Field{
		Name: member.Tag.Get("json"), In: member.Tag.Get("in"), Type: member.Type, Doc: member.Tag.Get("doc"),
	}}
	if field.Name == "" {
		return field, fmt.Errorf("has no json tag")
	}
	if field.In == "" {
		field.In = string(otherwise)
	}
	if aliases := member.Tag.Get("alias"); aliases != "" {
		field.Aliases = strings.Split(aliases, ",")
	}
	if one := member.Tag.Get("one"); one != "" {
		field.OneOf = strings.Split(one, "|")
	}
	if rules := member.Tag.Get("rule"); rules != "" {
		for rule := range strings.SplitSeq(rules, ",") {
			if err := field.applyRule(rule); err != nil {
				return field, err
			}
		}
	}
	var err error
	field.set, err = setterOf(member.Type)
	return field, err
}

func (f *boundField) applyRule(rule string) (err error) {
	name, text, _ := strings.Cut(rule, "=")
	switch name {
	case "required":
		f.Required = true
	case "lines":
		f.lines = true
	case "min":
		f.HasLow = true
		f.Low, err = strconv.ParseInt(text, 10, 64)
	case "max":
		f.HasHigh = true
		f.High, err = strconv.ParseInt(text, 10, 64)
	default:
		err = fmt.Errorf("unknown rule %q", rule)
	}
	return err
}

// fill sets the fields of request from input. The first problem wins, in the order of the fields.
func (b *binding) fill(request reflect.Value, input *Input) error {
	if input.List != nil && !b.takesList() {
		return wrongType("body", "a JSON object", " JSON 对象")
	}
	for i := range b.fields {
		field := &b.fields[i]
		value, found := field.look(input)
		if !found {
			if field.Required {
				return missing(field.Name)
			}
			continue
		}
		if err := field.set(request.FieldByIndex(field.index), field, value); err != nil {
			return err
		}
	}
	return nil
}

func (b *binding) takesList() bool {
	return slices.ContainsFunc(b.fields, func(field boundField) bool { return field.In == string(fromList) })
}

// look finds the field's value. Fields that belong into the query are also taken from a body, as the original's clients do.
func (f *boundField) look(input *Input) (any, bool) {
	if f.In == string(fromList) {
		if input.List == nil && input.Body != nil {
			return input.Body, true // refused by the Reader, which knows what it wants
		}
		return input.List, input.List != nil
	}
	if f.In == string(fromPath) {
		text := input.Path[f.Name]
		return text, text != ""
	}
	if f.In == string(fromQuery) {
		if value, found := find(input.Query, f.Name, f.Aliases); found {
			return value, true
		}
	}
	return find(input.Body, f.Name, f.Aliases)
}

var readerType = reflect.TypeFor[Reader]()

func setterOf(kind reflect.Type) (func(reflect.Value, *boundField, any) error, error) {
	if reflect.PointerTo(kind).Implements(readerType) {
		return setReader, nil
	}
	switch kind.Kind() {
	case reflect.Pointer:
		inner, err := setterOf(kind.Elem())
		return func(target reflect.Value, field *boundField, value any) error {
			fresh := reflect.New(kind.Elem())
			if err := inner(fresh.Elem(), field, value); err != nil {
				return err
			}
			target.Set(fresh)
			return nil
		}, err
	case reflect.Int, reflect.Int64:
		return setNumber, nil
	case reflect.Bool:
		return setBool, nil
	case reflect.String:
		return setText, nil
	}
	return nil, fmt.Errorf("type %s can't be read from a request", kind)
}

func setReader(target reflect.Value, field *boundField, value any) error {
	return target.Addr().Interface().(Reader).ReadField(field.Name, value)
}

func setNumber(target reflect.Value, field *boundField, value any) error {
	number, err := ReadNumber(field.Name, value)
	if err != nil {
		return err
	}
	if (field.HasLow && number < field.Low) || (field.HasHigh && number > field.High) {
		return outOfRange(&field.Field)
	}
	target.SetInt(number)
	return nil
}

func setBool(target reflect.Value, field *boundField, value any) error {
	truth, err := ReadBool(field.Name, value)
	if err != nil {
		return err
	}
	target.SetBool(truth)
	return nil
}

func setText(target reflect.Value, field *boundField, value any) error {
	text, err := ReadText(field.Name, value)
	if err != nil {
		return err
	}
	most := int64(defaultMost)
	if field.HasHigh {
		most = field.High
	}
	length := int64(utf8.RuneCountInString(text))
	switch {
	case length > most:
		return tooLong(field.Name, most)
	case field.HasLow && length < field.Low:
		return unacceptable(field.Name, fmt.Sprintf("must have %d characters at least", field.Low), fmt.Sprintf("至少 %d 个字符", field.Low))
	case !plainText(text, field.lines):
		return unacceptable(field.Name, "has control characters", "包含控制字符")
	case field.OneOf != nil && !oneOf(field.OneOf, text):
		all := strings.Join(field.OneOf, ", ")
		return unacceptable(field.Name, "must be one of "+all, "必须是以下之一："+all)
	}
	target.SetString(text)
	return nil
}

func oneOf(allowed []string, text string) bool {
	for _, each := range allowed {
		if each == text {
			return true
		}
	}
	return false
}

// Documented is a field or reply type that describes itself as a JSON schema.
type Documented interface {
	Schema() map[string]any
}
