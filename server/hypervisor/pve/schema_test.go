package pve_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gantry/lab/fault"
)

// apiSchema is a call's parameters in PVE's own words, from the schemas that its API viewer is made of.
type apiSchema map[string]struct {
	Optional any      `json:"optional"`
	Type     string   `json:"type"`
	Enum     []string `json:"enum"`
	Minimum  bound    `json:"minimum"`
	Maximum  bound    `json:"maximum"`
	Pattern  string   `json:"pattern"`
	MaxLen   *int     `json:"maxLength"`
}

// bound is a number that the schema sometimes has as a string; nil = none.
type bound struct{ value *float64 }

func (b *bound) UnmarshalJSON(text []byte) error {
	value, err := strconv.ParseFloat(strings.Trim(string(text), `"`), 64)
	b.value = &value
	return err
}

// checkRequests holds each request that reached the lab against PVE's schema: the call exists, no parameter is unknown, none that is
// needed is missing, and plain values are within their bounds.
func checkRequests(t *testing.T, version string, requests []fault.Request) {
	t.Helper()
	release := map[string]string{"8": "8.4", "9": "9.2"}[version]
	path := filepath.Join("..", "..", "..", "..", "shared", "pve", "apischema-core-"+release+".json")
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		t.Skipf("%s is not there: requests are not checked against PVE's schema", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Paths map[string]map[string]struct {
			Parameters apiSchema `json:"parameters"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	calls := map[string]bool{}
	for _, request := range requests {
		template, values := matchPath(request.Path, func(template string) bool {
			_, has := all.Paths[template][request.Method]
			return has
		})
		if template == "" {
			tell(t, told, fmt.Sprintf("PVE has no %s %s", request.Method, request.Path))
			continue
		}
		calls[request.Method+" "+template] = true
		for name, value := range request.Params {
			values[name] = value
		}
		for _, problem := range all.Paths[template][request.Method].Parameters.check(values) {
			tell(t, told, request.Method+" "+template+": "+problem)
		}
	}
	if len(calls) < 15 {
		t.Errorf("only these calls were seen: %v", calls)
	}
}

func tell(t *testing.T, told map[string]bool, problem string) {
	t.Helper()
	if !told[problem] {
		t.Error(problem)
	}
	told[problem] = true
}

// templates are the paths that the driver uses, most special first.
var templates = []string{
	"/version", "/nodes", "/cluster/resources", "/cluster/status", "/access/ticket", "/access/permissions",
	"/nodes/{node}/qemu", "/nodes/{node}/status", "/nodes/{node}/rrddata", "/nodes/{node}/storage", "/nodes/{node}/network", "/nodes/{node}/tasks",
	"/nodes/{node}/tasks/{upid}/status", "/nodes/{node}/tasks/{upid}/log",
	"/nodes/{node}/storage/{storage}/content", "/nodes/{node}/storage/{storage}/content/{volume}", "/nodes/{node}/storage/{storage}/download-url",
	"/nodes/{node}/qemu/{vmid}", "/nodes/{node}/qemu/{vmid}/config", "/nodes/{node}/qemu/{vmid}/resize", "/nodes/{node}/qemu/{vmid}/rrddata",
	"/nodes/{node}/qemu/{vmid}/vncproxy", "/nodes/{node}/qemu/{vmid}/vncwebsocket", "/nodes/{node}/qemu/{vmid}/status/current",
	"/nodes/{node}/qemu/{vmid}/status/start", "/nodes/{node}/qemu/{vmid}/status/stop", "/nodes/{node}/qemu/{vmid}/status/shutdown",
	"/nodes/{node}/qemu/{vmid}/status/reboot", "/nodes/{node}/qemu/{vmid}/status/reset", "/nodes/{node}/qemu/{vmid}/status/suspend",
	"/nodes/{node}/qemu/{vmid}/status/resume",
}

var placeholder = regexp.MustCompile(`\\\{([a-z]+)\\\}`)

func matchPath(path string, known func(string) bool) (string, map[string]any) {
	for _, template := range templates {
		text := placeholder.ReplaceAllString(regexp.QuoteMeta(template), `(?P<$1>[^/]+)`)
		pattern := regexp.MustCompile("^" + strings.Replace(text, "<volume>[^/]+", "<volume>.+", 1) + "$")
		found := pattern.FindStringSubmatch(path)
		if found == nil || !known(template) {
			continue
		}
		values := map[string]any{}
		for i, name := range pattern.SubexpNames() {
			if name != "" {
				values[name] = found[i]
			}
		}
		return template, values
	}
	return "", nil
}

var indexed = regexp.MustCompile(`^([a-z]+)[0-9]+$`)

func (s apiSchema) check(values map[string]any) []string {
	var problems []string
	for name, value := range values {
		schema, known := s[name]
		if !known {
			schema, known = s[indexed.ReplaceAllString(name, "$1[n]")]
		}
		if !known {
			problems = append(problems, name+" is not a parameter")
			continue
		}
		text := fmt.Sprint(value)
		if number, is := value.(float64); is {
			text = strconv.FormatFloat(number, 'f', -1, 64)
		}
		number, numberErr := strconv.ParseFloat(text, 64)
		switch {
		case schema.Type == "boolean" && text != "0" && text != "1":
			problems = append(problems, name+" is no boolean: "+text)
		case (schema.Type == "integer" || schema.Type == "number") && numberErr != nil:
			problems = append(problems, name+" is no number: "+text)
		case schema.Type == "integer" && strings.Contains(text, "."):
			problems = append(problems, name+" is no integer: "+text)
		case schema.Minimum.value != nil && number < *schema.Minimum.value, schema.Maximum.value != nil && number > *schema.Maximum.value:
			problems = append(problems, name+" is out of bounds: "+text)
		case len(schema.Enum) > 0 && !slices.Contains(schema.Enum, text):
			problems = append(problems, name+" is none of its values: "+text)
		case schema.MaxLen != nil && len(text) > *schema.MaxLen:
			problems = append(problems, name+" is too long")
		}
	}
	for name, schema := range s {
		if schema.Optional == nil && values[name] == nil {
			problems = append(problems, name+" is missing")
		}
	}
	return problems
}
