// Package conformance checks that the requests of a driver are such as a real Proxmox VE takes. It is for tests: the lab remembers every
// request, and this package holds each against a full schema dump of a real node.
package conformance

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gantry/lab/fault"
	"gantry/lab/schema"
)

// Check returns one line for each request that the schema does not allow: unknown paths and verbs, unknown, missing or malformed
// parameters.
func Check(requests []fault.Request, api *schema.API) []string {
	var problems []string
	for _, request := range requests {
		parts := strings.FieldsFunc(request.Path, func(c rune) bool { return c == '/' })
		if len(parts) == 0 {
			continue
		}
		method, variables := api.Find(request.Method, parts)
		if method == nil {
			problems = append(problems, fmt.Sprintf("%s %s: no such method", request.Method, request.Path))
			continue
		}
		values := map[string]any{}
		maps.Copy(values, request.Params)
		for name, value := range variables {
			values[name] = value
		}
		texts := method.Check(values)
		for _, name := range slices.Sorted(maps.Keys(texts)) {
			problems = append(problems, fmt.Sprintf("%s %s: %s: %s", request.Method, request.Path, name, strings.TrimSpace(texts[name])))
		}
	}
	return problems
}

// dumps are the schema dumps that lie beside the repository, by the lab's version.
var dumps = map[string]string{"8": "apischema-core-8.4.json", "9": "apischema-core-9.2.json"}

// LoadDump finds the schema dump of a version ("8" or "9") in ../shared/pve beside the repository. The error is os.ErrNotExist when it
// is absent.
func LoadDump(version string) (*schema.API, error) {
	folder, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find the repository: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return nil, fmt.Errorf("find the repository: no go.mod above the working directory: %w", os.ErrNotExist)
		}
		folder = parent
	}
	file := filepath.Join(folder, "..", "shared", "pve", dumps[version])
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("the schema dump of a real node: %w", err)
	}
	return schema.LoadDump(file)
}

// Verify fails the test for each request in the journal that a real node would refuse. Requests that were meant to be wrong are left
// out by allowed (which may be nil). It skips the test, with a message, where the dumps are absent.
func Verify(t testing.TB, faults *fault.Faults, version string, allowed func(fault.Request) bool) {
	t.Helper()
	api, err := LoadDump(version)
	if err != nil {
		t.Skipf("requests not checked against a real node's schema: %v", err)
	}
	requests := faults.Requests()
	if allowed != nil {
		requests = slices.DeleteFunc(requests, allowed)
	}
	for _, problem := range Check(requests, api) {
		t.Error(problem)
	}
}
