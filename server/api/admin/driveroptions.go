package admin

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
	"gantry/server/hypervisor"
)

const (
	// maxDriverOption bounds the text of an option: keys and certificates are the longest.
	maxDriverOption  = 64 << 10
	maxDriverOptions = 64
)

// DriverOptions are a driver's options by the names that getHypervisorKinds tells.
type DriverOptions map[string]string

// Schema describes the options in the API's document.
func (DriverOptions) Schema() map[string]any {
	return map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "string"}}
}

// ReadField takes an object of texts, numbers and booleans.
func (o *DriverOptions) ReadField(field string, value any) error {
	given, err := route.ReadMap(field, value)
	if err != nil {
		return err
	}
	if len(given) > maxDriverOptions {
		return broker.InvalidField(field, "has more than %d options", maxDriverOptions)
	}
	*o = make(DriverOptions, len(given))
	for name, each := range given {
		text := ""
		switch known := each.(type) {
		case string:
			text = known
		case json.Number:
			text = known.String()
		case bool:
			text = map[bool]string{true: "true", false: "false"}[known]
		default:
			return broker.InvalidField(field, "holds something that is no text, number or boolean")
		}
		if len(name) > 64 || len(text) > maxDriverOption {
			return broker.InvalidField(field, "an option has %d bytes at most", maxDriverOption)
		}
		(*o)[name] = text
	}
	return nil
}

// HypervisorKind is a driver on the wire, for the form that adds a node.
type HypervisorKind struct {
	Name    string         `json:"name" doc:"nodeType in paths and requests"`
	Title   string         `json:"title"`
	Options []DriverOption `json:"options" doc:"fields of insertNodeMaster, or of its object options where it has no such field"`
}

// DriverOption is an option of a driver, with texts in the caller's language.
type DriverOption struct {
	Name     string   `json:"name"`
	Title    string   `json:"title"`
	Help     string   `json:"help"`
	Type     string   `json:"type" doc:"text, number, secret, choice or bool"`
	Choices  []string `json:"choices"`
	Default  string   `json:"default"`
	Required bool     `json:"required"`
}

func (c *Calls) hypervisorKinds(_ context.Context, call *route.Call, _ route.Nothing) ([]HypervisorKind, error) {
	kinds := []HypervisorKind{}
	for _, kind := range c.Drivers() {
		described := HypervisorKind{Name: kind.Name, Title: kind.Title, Options: []DriverOption{}}
		for _, option := range kind.Options {
			described.Options = append(described.Options, DriverOption{
				Name: option.Name, Title: option.Title[call.Language], Help: option.Help[call.Language], Type: option.Type,
				Choices: append([]string{}, option.Choices...), Default: option.Default, Required: option.Required,
			})
		}
		kinds = append(kinds, described)
	}
	return kinds, nil
}

// driver finds a driver by its name.
func (c *Calls) driver(name string) (hypervisor.Kind, error) {
	var names []string
	for _, kind := range c.Drivers() {
		if kind.Name == name {
			return kind, nil
		}
		names = append(names, kind.Name)
	}
	return hypervisor.Kind{}, broker.InvalidField("nodeType", "must be one of %s", strings.Join(names, ", "))
}

// driverOptions puts the documented fields and a driver's own options together. Documented fields that the driver does not have are left
// out: clients send all of them. Secrets that come back as they were shown count as not sent.
func driverOptions(kind hypervisor.Kind, documented map[string]string, own DriverOptions) (map[string]string, error) {
	options := map[string]string{}
	has := func(name string) bool {
		return slices.ContainsFunc(kind.Options, func(option hypervisor.Option) bool { return option.Name == name })
	}
	for name, value := range documented {
		if value != "" && value != ams.Masked && has(name) {
			options[name] = value
		}
	}
	for name, value := range own {
		switch {
		case !has(name):
			return nil, broker.InvalidField("options", "%s has no option %.60q: see getHypervisorKinds", kind.Title, name)
		case value != "" && value != ams.Masked:
			options[name] = value
		}
	}
	return options, nil
}

// completed fills a driver's defaults in and refuses options that lack a required one.
func completed(kind hypervisor.Kind, options map[string]string) error {
	for _, option := range kind.Options {
		if options[option.Name] != "" {
			continue
		}
		if option.Default != "" {
			options[option.Name] = option.Default
		} else if option.Required {
			return broker.InvalidField(option.Name, "is required")
		}
	}
	return nil
}

// shownOptions are a cluster's options without its secrets.
func shownOptions(kind hypervisor.Kind, options map[string]string) DriverOptions {
	shown := DriverOptions{}
	for _, option := range kind.Options {
		value := options[option.Name]
		if value != "" && option.Type == "secret" {
			value = ams.Masked
		}
		if value != "" {
			shown[option.Name] = value
		}
	}
	return shown
}
