// Package config loads the settings of Gantry's programs from defaults, a YAML file, the environment and flags, in this
// order: later sources win.
//
// A setting is named by its key, the path of yaml tags in the program's Config struct: "tasks.per_node". In the
// environment the same setting of the program server is GANTRY_SERVER_TASKS_PER_NODE; a list is separated by commas there
// and in flags. Every source delivers text and the type of the field decides how the text is read, so "010" is ten and
// "yes" is no boolean wherever it comes from. What a source sets and no field takes is an error, never ignored.
//
// A field with the tag secret:"true" may also come from a file: the key with "_file" behind it (GANTRY_…_FILE in the
// environment) names a file whose content, less the newline at its end, is the value.
package config

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// Sources are where settings come from besides the defaults.
type Sources struct {
	// Program is the program's name as in its subcommand: "server" reads variables that start with GANTRY_SERVER_.
	Program string
	// File is the path of a YAML file; empty means none.
	File string
	// Environment is in the form of os.Environ; variables of other names are left alone.
	Environment []string
	// Flags come last and win.
	Flags []Flag
}

// Flag is a setting from the command line.
type Flag struct {
	Key   string // "tasks.per_node"
	Value string
	Name  string // how the user wrote it, for errors: "--set", "--listen"
}

// Validator is implemented by Config structs that check what types can't say. Errors joined with errors.Join are reported
// one by one; one that starts with a key and a colon is reported with the place where the key was set.
type Validator interface {
	Validate() error
}

// Load puts the sources over the defaults and validates the result. All problems of all sources are reported at once, as
// a *Problems.
func Load[T any](defaults T, sources Sources) (T, error) {
	var none T
	known, err := settingsOf(reflect.TypeFor[T]())
	if err != nil {
		return none, err
	}
	loader := &loader{known: known, layers: koanf.New(keyDelimiter), origins: map[string]string{}}
	if sources.File != "" {
		loader.add(readFile(sources.File, known))
	}
	loader.add(readEnvironment(sources.Program, sources.Environment, known))
	loader.add(readFlags(sources.Flags), nil)
	if len(loader.problems) > 0 {
		return none, &Problems{List: loader.problems}
	}
	if err := loader.layers.UnmarshalWithConf("", &defaults, unmarshalInto(&defaults)); err != nil {
		return none, fmt.Errorf("assign settings: %w", err)
	}
	if validator, ok := any(defaults).(Validator); ok {
		if err := validator.Validate(); err != nil {
			return none, &Problems{List: loader.locate(err)}
		}
	}
	return defaults, nil
}

// entry is one setting as a source gives it.
type entry struct {
	key    string
	value  any    // string, or []string from a YAML list
	origin string // "server.yaml:12", "GANTRY_SERVER_LISTEN", "--set"
}

// loader collects layers and what is wrong with them.
type loader struct {
	known    settings
	layers   *koanf.Koanf
	origins  map[string]string // of the value that counts
	problems []Problem
}

// add puts one source over those before.
func (l *loader) add(entries []entry, problems []Problem) {
	l.problems = append(l.problems, problems...)
	layer := map[string]any{}
	from := map[string]string{}
	for _, each := range entries {
		each, set, problem := l.resolve(each)
		if problem != nil {
			l.problems = append(l.problems, *problem)
			continue
		}
		// A flag may be repeated, the last one counts; the same setting by two names of one source is a mistake.
		if earlier, twice := from[each.key]; twice && earlier != each.origin {
			l.problems = append(l.problems, Problem{Origin: each.origin, Key: each.key, Text: "is set twice, also by " + earlier})
			continue
		}
		value, err := set.parse(each.value)
		if err != nil {
			l.problems = append(l.problems, Problem{Origin: each.origin, Key: each.key, Text: err.Error()})
			continue
		}
		layer[each.key] = value
		from[each.key] = each.origin
		l.origins[each.key] = each.origin
	}
	if err := l.layers.Load(confmap.Provider(layer, keyDelimiter), nil); err != nil {
		l.problems = append(l.problems, Problem{Text: err.Error()})
	}
}

// resolve finds the setting that an entry means and reads the file that a "_file" entry names.
func (l *loader) resolve(each entry) (entry, setting, *Problem) {
	if set, ok := l.known[each.key]; ok {
		return each, set, nil
	}
	if set, ok := l.known.secretFile(each.key); ok {
		value, err := readSecret(each.value)
		if err != nil {
			return each, set, &Problem{Origin: each.origin, Key: each.key, Text: err.Error()}
		}
		return entry{key: set.key, value: value, origin: each.origin}, set, nil
	}
	return each, setting{}, &Problem{Origin: each.origin, Key: each.key, Text: l.known.unknown(each.key)}
}

// locate adds the place of its key to each of the joined errors.
func (l *loader) locate(err error) []Problem {
	var located []Problem
	for _, each := range split(err) {
		problem := Problem{Text: each.Error()}
		if key, text, ok := l.known.cutKey(problem.Text); ok {
			problem = Problem{Key: key, Text: text, Origin: l.origins[key]}
		}
		located = append(located, problem)
	}
	return located
}

func split(err error) []error {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return []error{err}
	}
	var all []error
	for _, each := range joined.Unwrap() {
		all = append(all, split(each)...)
	}
	return all
}
