// Openapi prints the OpenAPI document of what the panel calls: the admin's calls and those that anybody may make. Paths of admin
// calls stand without the secret admin path, because the panel knows it as its own base address.
package main

import (
	"fmt"
	"os"
	"strings"

	"gantry/server/api"
	"gantry/server/api/admin"
	"gantry/server/api/ams"
	"gantry/server/api/public"
	"gantry/server/api/route"
)

func main() {
	document, err := describe()
	if err == nil {
		_, err = os.Stdout.Write(append(document, '\n'))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "describe the API:", err)
		os.Exit(1)
	}
}

func describe() ([]byte, error) {
	forAdmins := admin.Calls{Machines: &ams.Machines{}}
	var forAll public.Calls
	routes := append(forAdmins.Routes(), forAll.Routes()...)
	for i := range routes {
		routes[i].Path = strings.TrimPrefix(routes[i].Path, "/{"+route.AdminPathParameter+"}")
	}
	return api.OpenAPI(routes, "")
}
