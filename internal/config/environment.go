package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
)

// DefaultFolder is where a program looks for its file when none is named: /etc/gantry/server.yaml.
const DefaultFolder = "/etc/gantry"

// fileVariable is what the variable that names the settings file ends in: GANTRY_SERVER_CONFIG.
const fileVariable = "CONFIG"

// serviceLink matches what Kubernetes puts into a pod's environment for a service that is called gantry-server
// (kubernetes.io, "Discovering services", environment variables). They are no settings of ours.
var serviceLink = regexp.MustCompile(`^(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// variableName gives the environment variable of a key: "server", "tasks.per_node" → GANTRY_SERVER_TASKS_PER_NODE.
func variableName(program, key string) string {
	return variablePrefix(program) + strings.ToUpper(strings.ReplaceAll(key, keyDelimiter, "_"))
}

func variablePrefix(program string) string { return "GANTRY_" + strings.ToUpper(program) + "_" }

// readEnvironment picks the program's settings out of the environment.
func readEnvironment(program string, environment []string, known settings) ([]entry, []Problem) {
	keys := map[string]string{}
	var names []string
	for _, key := range known.keys() {
		name := variableName(program, key)
		// A declared setting wins over the "_file" form of another.
		if _, taken := keys[name]; !taken {
			names = append(names, name)
		}
		if _, declared := known[key]; declared || keys[name] == "" {
			keys[name] = key
		}
	}
	var entries []entry
	var problems []Problem
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		rest, ours := strings.CutPrefix(name, variablePrefix(program))
		if !ours || rest == fileVariable || isServiceLink(rest, value, keys[name]) {
			continue
		}
		if keys[name] == "" {
			problems = append(problems, Problem{Origin: name, Text: unknownVariable(name, names)})
			continue
		}
		entries = append(entries, entry{key: keys[name], value: value, origin: name})
	}
	return entries, problems
}

func isServiceLink(rest, value, key string) bool {
	return key == "" && serviceLink.MatchString(rest) && (rest != "PORT" || strings.Contains(value, "://"))
}

func unknownVariable(name string, names []string) string {
	if close := nearest(name, names); close != "" {
		return fmt.Sprintf("unknown environment variable, did you mean %s?", close)
	}
	return "unknown environment variable"
}

// Locate tells which settings file a program reads: the one of the flag, else of the variable GANTRY_<PROGRAM>_CONFIG, else
// <program>.yaml in the folder (DefaultFolder) if it is there, else none (""). A file that was named has to be there; Load
// says so.
func Locate(program, flag string, environment []string, folder string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	for _, variable := range environment {
		if path, ok := strings.CutPrefix(variable, variablePrefix(program)+fileVariable+"="); ok && path != "" {
			return path, nil
		}
	}
	path := folder + "/" + program + ".yaml"
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("look for settings: %w", err)
	}
	return path, nil
}

func readFlags(flags []Flag) []entry {
	entries := make([]entry, 0, len(flags))
	for _, flag := range flags {
		entries = append(entries, entry{key: flag.Key, value: flag.Value, origin: flag.Name})
	}
	return entries
}

// ParseSet reads the argument of --set, "key=value".
func ParseSet(argument string) (Flag, error) {
	key, value, ok := strings.Cut(argument, "=")
	if !ok || key == "" {
		return Flag{}, fmt.Errorf("--set %q: must be key=value", argument)
	}
	return Flag{Key: key, Value: value, Name: "--set"}, nil
}
