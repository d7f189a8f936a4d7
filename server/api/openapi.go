package api

import (
	"encoding/json"
	"reflect"
	"sort"
	"strings"

	"gantry/server/api/route"
)

// object is a JSON object of the document.
type object = map[string]any

// OpenAPI describes routes as an OpenAPI 3.1 document (JSON, stable order).
func OpenAPI(routes []route.Route, version string) ([]byte, error) {
	schemas := schemaSet{components: object{}}
	paths := object{}
	for i := range routes {
		each := &routes[i]
		item, _ := paths[each.Path].(object)
		if item == nil {
			item = object{}
			paths[each.Path] = item
		}
		for position, method := range each.Methods {
			operation := describeOperation(each, &schemas)
			operation["operationId"] = each.Name
			if position > 0 { // operation ids are unique in a document
				operation["operationId"] = each.Name + strings.ToUpper(method[:1]) + strings.ToLower(method[1:])
			}
			item[strings.ToLower(method)] = operation
		}
	}
	if version == "" {
		version = "0"
	}
	return json.MarshalIndent(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Gantry", "version": version,
			"description": "AMS calls, wire-compatible with ProxmoxVE-AMS, and Gantry's own. Every answer is an envelope " +
				"{code, message, data}; code 20000 is success. Business errors have HTTP status 200.",
		},
		"paths": paths,
		"components": object{
			"schemas": schemas.components,
			"securitySchemes": object{
				string(route.Admin): object{
					"type": "apiKey", "in": "header", "name": "Authorization",
					"description": "the token of loginDo, raw or after \"Bearer \"",
				},
				string(route.APIKey): object{"type": "http", "scheme": "basic", "description": "appid and appkey of insertApiKey"},
			},
		},
	}, "", "  ")
}

func describeOperation(each *route.Route, schemas *schemaSet) object {
	operation := object{"summary": each.Summary, "tags": []string{each.Group}}
	if each.Auth != route.Public {
		operation["security"] = []object{{string(each.Auth): []string{}}}
	}
	parameters := pathParameters(each)
	properties, required := object{}, []string{}
	for _, field := range each.Fields() {
		schema := schemas.ofField(field)
		if field.In == "list" {
			operation["requestBody"] = object{
				"required": true, "content": object{"application/json": object{"schema": schema}},
			}
			continue
		}
		if field.In != "body" {
			if field.In == "path" {
				continue
			}
			parameters = append(parameters, object{
				"name": field.Name, "in": field.In, "required": field.Required, "description": field.Doc, "schema": schema,
			})
			continue
		}
		if field.Doc != "" {
			schema["description"] = field.Doc
		}
		properties[field.Name] = schema
		if field.Required {
			required = append(required, field.Name)
		}
	}
	if each.Name == "cerateVM" || each.Name == "createVm" {
		parameters = append(parameters, object{
			"name": "Idempotency-Key", "in": "header", "required": false, "schema": object{"type": "string", "maxLength": 128},
			"description": "names the order: the same key with the same order gives the same machine",
		})
	}
	if len(parameters) > 0 {
		operation["parameters"] = parameters
	}
	if len(properties) > 0 {
		body := object{"type": "object", "properties": properties}
		if len(required) > 0 {
			body["required"] = required
		}
		operation["requestBody"] = object{
			"required": len(required) > 0, "content": object{"application/json": object{"schema": body}},
		}
	}
	if each.Reply == reflect.TypeFor[route.Stream]() {
		operation["responses"] = object{"200": object{
			"description": "server-sent events", "content": object{"text/event-stream": object{"schema": object{"type": "string"}}},
		}}
		return operation
	}
	operation["responses"] = object{"200": object{
		"description": "the envelope",
		"content":     object{"application/json": object{"schema": envelopeSchema(schemas.of(each.Reply))}},
	}}
	return operation
}

// pathParameters lists all of a path's parameters, those that handlers never see among them.
func pathParameters(each *route.Route) []object {
	fields := map[string]route.Field{}
	for _, field := range each.Fields() {
		fields[field.Name] = field
	}
	var parameters []object
	for segment := range strings.SplitSeq(each.Path, "/") {
		name, found := strings.CutPrefix(segment, "{")
		if !found {
			continue
		}
		name = strings.TrimSuffix(name, "}")
		parameter := object{"name": name, "in": "path", "required": true, "schema": object{"type": "string"}}
		switch name {
		case route.AdminPathParameter:
			parameter["description"] = "the secret admin path"
		case route.KindParameter, route.KindParameterInVNC:
			parameter["description"] = "driver, e.g. pve"
		default:
			set := schemaSet{components: object{}}
			parameter["schema"], parameter["description"] = set.ofField(fields[name]), fields[name].Doc
		}
		parameters = append(parameters, parameter)
	}
	return parameters
}

func envelopeSchema(data object) object {
	return object{
		"type": "object", "required": []string{"code", "message"},
		"properties": object{
			"code":     object{"type": "integer", "description": "20000 = success"},
			"message":  object{"type": "string"},
			"data":     data,
			"warnings": object{"type": "array", "items": object{"type": "string"}, "description": "absent when there are none"},
		},
	}
}

// schemaSet collects the named types of a document.
type schemaSet struct{ components object }

func (s *schemaSet) ofField(field route.Field) object {
	schema := s.of(field.Type)
	kind := field.Type
	for kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	low, high := "minimum", "maximum"
	if kind.Kind() == reflect.String {
		low, high = "minLength", "maxLength"
	}
	if field.HasLow {
		schema[low] = field.Low
	}
	if field.HasHigh {
		schema[high] = field.High
	}
	if field.OneOf != nil {
		schema["enum"] = field.OneOf
	}
	return schema
}

// of describes a Go type. Structs become components and are referred to.
func (s *schemaSet) of(kind reflect.Type) object {
	if documented, ok := reflect.Zero(kind).Interface().(route.Documented); ok && kind.Kind() != reflect.Pointer {
		return documented.Schema()
	}
	switch kind.Kind() {
	case reflect.Pointer:
		return s.nullable(kind.Elem())
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Slice:
		return object{"type": "array", "items": s.of(kind.Elem())}
	case reflect.Map:
		return object{"type": []string{"object", "null"}, "additionalProperties": s.of(kind.Elem())}
	case reflect.Struct:
		return s.component(kind)
	}
	return object{} // any
}

func (s *schemaSet) nullable(kind reflect.Type) object {
	if kind.Kind() == reflect.Struct && kind.NumField() == 0 {
		return object{"type": "null"}
	}
	inner := s.of(kind)
	if name, plain := inner["type"].(string); plain {
		inner["type"] = []string{name, "null"}
		return inner
	}
	return object{"anyOf": []object{inner, {"type": "null"}}}
}

func (s *schemaSet) component(kind reflect.Type) object {
	name := componentName(kind)
	reference := object{"$ref": "#/components/schemas/" + name}
	if _, known := s.components[name]; known {
		return reference
	}
	properties, required := object{}, []string{}
	s.components[name] = object{} // stops recursion
	for _, member := range reflect.VisibleFields(kind) {
		tag, options, _ := strings.Cut(member.Tag.Get("json"), ",")
		if member.Anonymous || !member.IsExported() || tag == "" || tag == "-" {
			continue
		}
		schema := s.of(member.Type)
		if doc := member.Tag.Get("doc"); doc != "" {
			schema["description"] = doc
		}
		properties[tag] = schema
		if !strings.Contains(options, "omitempty") {
			required = append(required, tag)
		}
	}
	sort.Strings(required)
	s.components[name] = object{"type": "object", "properties": properties, "required": required}
	return reference
}

// componentName writes a type's name without the packages of its arguments: List[admin.Node] is ListOfAdminNode.
func componentName(kind reflect.Type) string {
	name, arguments, generic := strings.Cut(kind.Name(), "[")
	packages := strings.Split(kind.PkgPath(), "/")
	prefix := packages[len(packages)-1]
	if !generic {
		return titled(prefix) + name
	}
	arguments = strings.Trim(arguments, "[]*")
	arguments = arguments[strings.LastIndex(arguments, "/")+1:]
	owner, inner, found := strings.Cut(arguments, ".")
	if !found {
		owner, inner = "", arguments
	}
	clean := func(r rune) rune {
		if r == '[' || r == ']' || r == '*' || r == '.' {
			return -1
		}
		return r
	}
	return titled(prefix) + name + "Of" + titled(owner) + strings.Map(clean, inner)
}

func titled(word string) string {
	if word == "" {
		return ""
	}
	return strings.ToUpper(word[:1]) + word[1:]
}
