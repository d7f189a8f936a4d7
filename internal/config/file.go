package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds a settings file; the shipped ones have a few KiB.
const maxFileBytes = 1 << 20

// maxSecretBytes bounds the file of a secret.
const maxSecretBytes = 64 << 10

// readFile reads settings and where they stand. The entries stay usable when problems are found.
func readFile(path string, known settings) ([]entry, []Problem) {
	content, err := readBounded(path, maxFileBytes)
	if err != nil {
		return nil, []Problem{{Text: err.Error()}}
	}
	return parseYAML(content, path, known)
}

func parseYAML(content []byte, path string, known settings) ([]entry, []Problem) {
	var document yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF): // nothing but comments
		return nil, nil
	case err != nil:
		return nil, []Problem{{Origin: path, Text: strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, []Problem{{Origin: path, Text: "holds more than one YAML document"}}
	}
	reader := yamlReader{path: path, known: known}
	if root := document.Content[0]; !isNull(root) {
		reader.mapping(root, "")
	}
	return reader.entries, reader.problems
}

// yamlReader walks a document. Scalars are taken as they are written, not as YAML would type them.
type yamlReader struct {
	path     string
	known    settings
	entries  []entry
	problems []Problem
}

func (r *yamlReader) mapping(node *yaml.Node, prefix string) {
	if node.Kind != yaml.MappingNode {
		r.complain(node, strings.TrimSuffix(prefix, keyDelimiter), "must be a block of \"key: value\" lines")
		return
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		key := prefix + name.Value
		if line, twice := lines[key]; twice {
			r.complain(name, key, fmt.Sprintf("is set twice, also on line %d", line))
			continue
		}
		lines[key] = name.Line
		r.value(name, value, key)
	}
}

func (r *yamlReader) value(name, value *yaml.Node, key string) {
	switch {
	case r.known.section(key):
		if !isNull(value) { // a section whose lines are all commented out
			r.mapping(value, key+keyDelimiter)
		}
	case value.Kind == yaml.ScalarNode && isNull(value):
		// "key:" without a value sets nothing, but the key has to be right.
		if _, secret := r.known.secretFile(key); !secret && r.known[key].key == "" {
			r.complain(name, key, r.known.unknown(key))
		}
	case value.Kind == yaml.ScalarNode:
		r.entries = append(r.entries, entry{key: key, value: value.Value, origin: r.origin(name)})
	case value.Kind == yaml.SequenceNode:
		r.list(name, value, key)
	case value.Kind == yaml.AliasNode:
		r.complain(value, key, "YAML aliases are not supported")
	case r.known[key].key == "":
		r.complain(name, key, r.known.unknown(key))
	default:
		r.complain(value, key, "takes a value, not a block")
	}
}

func (r *yamlReader) list(name, value *yaml.Node, key string) {
	list := make([]string, 0, len(value.Content))
	for _, item := range value.Content {
		if item.Kind != yaml.ScalarNode {
			r.complain(item, key, "takes a list of plain values")
			return
		}
		list = append(list, item.Value)
	}
	r.entries = append(r.entries, entry{key: key, value: list, origin: r.origin(name)})
}

func (r *yamlReader) complain(node *yaml.Node, key, text string) {
	r.problems = append(r.problems, Problem{Origin: r.origin(node), Key: key, Text: text})
}

func (r *yamlReader) origin(node *yaml.Node) string { return fmt.Sprintf("%s:%d", r.path, node.Line) }

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag == "!!null" }

// readSecret reads the file that a "_file" setting names.
func readSecret(path any) (string, error) {
	name, ok := path.(string)
	if !ok || name == "" {
		return "", errors.New("must be the path of a file")
	}
	content, err := readBounded(name, maxSecretBytes)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r"), nil
}

// readBounded reads a file of at most limit bytes. Its errors name the path.
func readBounded(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s is larger than %d KiB", path, limit>>10)
	}
	return content, nil
}
