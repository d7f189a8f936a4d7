package hypervisor

import (
	"sort"

	"gantry/server/broker"
)

// Registry holds the kinds of driver that a server knows, by name. It is filled once in main's wiring, in plain sight.
type Registry map[string]Kind

// NewRegistry makes a registry of kinds.
func NewRegistry(kinds ...Kind) Registry {
	registry := make(Registry, len(kinds))
	for _, kind := range kinds {
		registry[kind.Name] = kind
	}
	return registry
}

// Kinds are all kinds, by name.
func (r Registry) Kinds() []Kind {
	kinds := make([]Kind, 0, len(r))
	for _, kind := range r {
		kinds = append(kinds, kind)
	}
	sort.Slice(kinds, func(i, j int) bool { return kinds[i].Name < kinds[j].Name })
	return kinds
}

// Endpoint names where the options of a kind lead; Invalid (Field "kind") when there is no such kind, else what Kind.Endpoint says.
func (r Registry) Endpoint(kind string, options map[string]string) (string, error) {
	known, found := r[kind]
	if !found {
		return "", broker.InvalidField("kind", "unknown kind of hypervisor %q", kind)
	}
	return known.Endpoint(options)
}

// Open makes a driver of a kind; Invalid (Field "kind") when there is no such kind, else what its Open says.
func (r Registry) Open(kind string, settings Settings) (Driver, error) {
	known, found := r[kind]
	if !found {
		return nil, broker.InvalidField("kind", "unknown kind of hypervisor %q", kind)
	}
	return known.Open(settings)
}
