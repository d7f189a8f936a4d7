package main

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"gantry/internal/config"
	"gantry/server"
)

// The commented examples are the defaults: what they say and what the code does without them is the same, and they leave
// no setting out.
func TestExamplesAreTheDefaults(t *testing.T) {
	vncproxy := defaultVncproxySettings()
	vncproxy.Secret = "x" // has no default, so the flag below sets it in both
	checkExample(t, "server", server.DefaultConfig())
	checkExample(t, "controlled", defaultControlledSettings())
	checkExample(t, "lab", defaultLabSettings())
	checkExample(t, "vncproxy", vncproxy, config.Flag{Key: "secret", Value: "x", Name: "--set"})
}

func checkExample[T any](t *testing.T, program string, defaults T, flags ...config.Flag) {
	t.Helper()
	path := filepath.Join("configs", program+".yaml")
	loaded, err := config.Load(defaults, config.Sources{Program: program, File: path, Flags: flags})
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	inFile, inCode := flatten(reflect.ValueOf(loaded), ""), flatten(reflect.ValueOf(defaults), "")
	for _, key := range slices.Sorted(maps.Keys(inCode)) {
		if !reflect.DeepEqual(inFile[key], inCode[key]) {
			t.Errorf("%s: %s is %v, its default %v", path, key, inFile[key], inCode[key])
		}
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var document map[string]any
	if err := yaml.Unmarshal(content, &document); err != nil {
		t.Fatal(err)
	}
	for _, key := range slices.Sorted(maps.Keys(inCode)) {
		if !mentions(document, key) {
			t.Errorf("%s leaves out %s", path, key)
		}
	}
}

// flatten lists settings by key. Empty and nil lists are the same.
func flatten(value reflect.Value, prefix string) map[string]any {
	all := map[string]any{}
	for i := range value.NumField() {
		field, tag := value.Field(i), value.Type().Field(i).Tag.Get("yaml")
		switch {
		case tag == "-":
		case value.Type().Field(i).Anonymous:
			maps.Copy(all, flatten(field, prefix))
		case field.Kind() == reflect.Struct:
			maps.Copy(all, flatten(field, prefix+tag+"."))
		case field.Kind() == reflect.Slice && field.Len() == 0:
			all[prefix+tag] = nil
		default:
			all[prefix+tag] = field.Interface()
		}
	}
	return all
}

func mentions(document map[string]any, key string) bool {
	for name, value := range document {
		if name == key {
			return true
		}
		section, isSection := value.(map[string]any)
		if isSection && len(key) > len(name) && key[:len(name)+1] == name+"." && mentions(section, key[len(name)+1:]) {
			return true
		}
	}
	return false
}
