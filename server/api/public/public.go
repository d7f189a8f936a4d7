// Package public serves /api/common: what anybody may know.
package public

import (
	"context"
	"net/http"

	"gantry/server/api/route"
	"gantry/server/broker"
)

// Calls is the surface with what it needs.
type Calls struct {
	// Version and Build are those of the program.
	Version, Build string
}

// Routes lists the calls.
func (c *Calls) Routes() []route.Route {
	get := []string{http.MethodGet}
	return []route.Route{
		route.Of(route.Route{
			Methods: get, Path: "/api/common/cpuType", Auth: route.Public, Name: "cpuType", Group: "common",
			Summary: "CPU types that an order may name, with vendor or meaning.",
		}, cpuTypes),
		route.Of(route.Route{
			Methods: get, Path: "/api/common/osType", Auth: route.Public, Name: "osType", Group: "common",
			Summary: "Families of operating systems that an order may name.",
		}, osTypes),
		route.Of(route.Route{
			Methods: get, Path: "/api/common/osArch", Auth: route.Public, Name: "osArch", Group: "common",
			Summary: "Architectures that an order may name.",
		}, architectures),
		route.Of(route.Route{
			Methods: get, Path: "/api/common/version", Auth: route.Public, Name: "version", Group: "common",
			Summary: "Name and version of the program.",
		}, c.version),
	}
}

func cpuTypes(context.Context, *route.Call, route.Nothing) (map[string]string, error) {
	return broker.CPUTypes(), nil
}

func osTypes(context.Context, *route.Call, route.Nothing) ([]string, error) {
	return []string{"linux", "windows", "solaris", "other"}, nil
}

// architectures keeps the documented spelling of aarch64.
func architectures(context.Context, *route.Call, route.Nothing) ([]string, error) {
	return []string{"x86_64", "arrch64"}, nil
}

// Version is the answer to version.
type Version struct {
	BuildVersion string `json:"buildVersion"`
	Name         string `json:"name"`
	Description  string `json:"description"`
	Version      string `json:"version"`
}

func (c *Calls) version(context.Context, *route.Call, route.Nothing) (Version, error) {
	return Version{
		BuildVersion: c.Build, Name: "Gantry", Version: c.Version,
		Description: "Broker between billing systems and hypervisors.",
	}, nil
}
