// Package schema holds the parameter and permission schemas of the Proxmox VE API and checks requests against them, with the
// texts that PVE::JSONSchema gives.
package schema

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

//go:generate go run ./extract ../../../shared/pve/apischema-core-8.4.json pve8.json.gz
//go:generate go run ./extract ../../../shared/pve/apischema-core-9.2.json pve9.json.gz

//go:embed pve8.json.gz
var pve8 []byte

//go:embed pve9.json.gz
var pve9 []byte

// Flag is a boolean that the dumps write as 0, 1, "1" or true.
type Flag bool

// UnmarshalJSON accepts the dumps' spellings.
func (f *Flag) UnmarshalJSON(text []byte) error {
	switch strings.Trim(string(text), `"`) {
	case "1", "true":
		*f = true
	case "0", "false", "null", "":
		*f = false
	default:
		// additionalProperties may be a schema; then properties are allowed.
		*f = true
	}
	return nil
}

// Number is a limit that the dumps write as a number or as text.
type Number float64

// UnmarshalJSON accepts both.
func (n *Number) UnmarshalJSON(text []byte) error {
	number, err := strconv.ParseFloat(strings.Trim(string(text), `"`), 64)
	*n = Number(number)
	return err
}

// Format is either the name of a registered format or the properties of a comma-separated property string.
type Format struct {
	Name       string
	Properties map[string]*Property
}

// UnmarshalJSON reads both forms.
func (f *Format) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		return json.Unmarshal(text, &f.Name)
	}
	return json.Unmarshal(text, &f.Properties)
}

// Property describes one parameter or one key of a property string.
type Property struct {
	Type       string    `json:"type"`
	Optional   Flag      `json:"optional"`
	Format     *Format   `json:"format"`
	Enum       []any     `json:"enum"`
	Pattern    string    `json:"pattern"`
	Minimum    *Number   `json:"minimum"`
	Maximum    *Number   `json:"maximum"`
	MinLength  *Number   `json:"minLength"`
	MaxLength  *Number   `json:"maxLength"`
	Requires   any       `json:"requires"`
	Items      *Property `json:"items"`
	DefaultKey Flag      `json:"default_key"`
	Alias      string    `json:"alias"`
	KeyAlias   string    `json:"keyAlias"`
}

// Permissions is the permission rule of a method. Check is PVE's nested list, User "all" or "world".
type Permissions struct {
	User  string `json:"user"`
	Check []any  `json:"check"`
}

// Method is one verb of one path.
type Method struct {
	Name        string               `json:"name"`
	Parameters  map[string]*Property `json:"parameters"`
	Permissions *Permissions         `json:"permissions"`
	ProxyTo     string               `json:"proxyto"`
	Protected   Flag                 `json:"protected"`
	AllowToken  *Flag                `json:"allowtoken"`
	Additional  Flag                 `json:"additionalProperties"`
	// Path is the template, /nodes/{node}/qemu.
	Path string `json:"-"`
	Verb string `json:"-"`
}

// TokenAllowed tells whether an API token may call the method.
func (m *Method) TokenAllowed() bool { return m.AllowToken == nil || bool(*m.AllowToken) }

// API is the tree of all paths of one version.
type API struct{ root *branch }

type branch struct {
	fixed    map[string]*branch
	variable *branch
	name     string // of the path variable that leads here
	// greedy takes the rest of the path: volume ids hold slashes.
	greedy  bool
	methods map[string]*Method
}

// Load returns the schemas that are built into the lab: major version 8 (8.4) or 9 (9.2).
func Load(major int) (*API, error) {
	packed := pve9
	if major == 8 {
		packed = pve8
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("open the embedded schema: %w", err)
	}
	text, err := io.ReadAll(reader)
	if err != nil {
		return nil, fmt.Errorf("unpack the embedded schema: %w", err)
	}
	var paths map[string]map[string]*Method
	if err := json.Unmarshal(text, &paths); err != nil {
		return nil, fmt.Errorf("parse the embedded schema: %w", err)
	}
	return build(paths), nil
}

// LoadDump reads a full schema dump ({"paths":{…}}), such as tests have beside the repository.
func LoadDump(file string) (*API, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the schema dump: %w", err)
	}
	var dump struct {
		Paths map[string]map[string]*Method `json:"paths"`
	}
	if err := json.Unmarshal(text, &dump); err != nil {
		return nil, fmt.Errorf("parse %s: %w", file, err)
	}
	return build(dump.Paths), nil
}

func build(paths map[string]map[string]*Method) *API {
	root := &branch{}
	for path, methods := range paths {
		at := root
		for _, part := range strings.Split(strings.Trim(path, "/"), "/") {
			at = at.child(part)
		}
		at.methods = methods
		for verb, method := range methods {
			method.Path, method.Verb = path, verb
		}
	}
	return &API{root: root}
}

func (b *branch) child(part string) *branch {
	if strings.HasPrefix(part, "{") {
		if b.variable == nil {
			b.variable = &branch{name: strings.Trim(part, "{}")}
			b.variable.greedy = b.variable.name == "volume"
		}
		return b.variable
	}
	if b.fixed == nil {
		b.fixed = map[string]*branch{}
	}
	if b.fixed[part] == nil {
		b.fixed[part] = &branch{}
	}
	return b.fixed[part]
}

// Find returns the method for the path's parts, already unescaped, with the values of the path variables. A nil method means that
// the path or the verb does not exist.
func (a *API) Find(verb string, parts []string) (*Method, map[string]string) {
	at, variables := a.root, map[string]string{}
	for i, part := range parts {
		next := at.fixed[part]
		if next == nil {
			next = at.variable
			if next == nil {
				return nil, nil
			}
			if next.greedy {
				variables[next.name] = strings.Join(parts[i:], "/")
				return next.methods[verb], variables
			}
			variables[next.name] = part
		}
		at = next
	}
	return at.methods[verb], variables
}

// Children are the fixed names below a path, for index answers.
func (a *API) Children(parts []string) []string {
	at := a.root
	for _, part := range parts {
		next := at.fixed[part]
		if next == nil {
			next = at.variable
		}
		if next == nil {
			return nil
		}
		at = next
	}
	var names []string
	for name := range at.fixed {
		names = append(names, name)
	}
	return names
}
