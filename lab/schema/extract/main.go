// Command extract writes the compact form of a Proxmox VE API schema dump that the lab embeds: names, types, formats, limits and
// permissions, without descriptions, defaults and return types.
//
//	go run ./lab/schema/extract ../shared/pve/apischema-core-8.4.json lab/schema/pve8.json.gz
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: extract DUMP.json OUT.json.gz")
		os.Exit(2)
	}
	if err := extract(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func extract(source, target string) error {
	raw, err := os.ReadFile(source)
	if err != nil {
		return fmt.Errorf("read the dump: %w", err)
	}
	var dump struct {
		Paths map[string]map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(raw, &dump); err != nil {
		return fmt.Errorf("parse %s: %w", source, err)
	}
	for _, methods := range dump.Paths {
		for _, method := range methods {
			delete(method, "returns")
			delete(method, "description")
			parameters, _ := method["parameters"].(map[string]any)
			stripProperties(parameters)
		}
	}
	text, err := json.Marshal(dump.Paths)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	var packed bytes.Buffer
	writer, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return fmt.Errorf("open gzip: %w", err)
	}
	if _, err := writer.Write(text); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	if err := writer.Close(); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	return os.WriteFile(target, packed.Bytes(), 0o644)
}

// stripProperties removes what no check needs. It works on the values of a name → schema map, so that a property that is itself
// called "description" stays.
func stripProperties(properties map[string]any) {
	for _, value := range properties {
		schema, ok := value.(map[string]any)
		if !ok {
			continue
		}
		for _, name := range []string{"description", "verbose_description", "format_description", "default", "typetext", "title"} {
			delete(schema, name)
		}
		if nested, ok := schema["format"].(map[string]any); ok {
			stripProperties(nested)
		}
		if items, ok := schema["items"].(map[string]any); ok {
			stripProperties(map[string]any{"items": items})
		}
	}
}
