// Package lint checks the files that describe containers, on machines without a container engine: the Dockerfile with
// BuildKit's own linter (what `docker build --check` runs), compose.yaml with the loader of `docker compose`.
package lint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

const root = "../../"

// anyImage stands for a registry: every image exists.
type anyImage struct{}

func (anyImage) ResolveImageConfig(_ context.Context, reference string, options sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	image := ocispecs.Image{Platform: ocispecs.Platform{OS: "linux", Architecture: "amd64"}}
	content, err := json.Marshal(image)
	return reference, digest.FromBytes(content), content, err
}

// problems gives what BuildKit and our own rules say about a Dockerfile.
func problems(t *testing.T, content []byte) []string {
	t.Helper()
	source := llb.NewSourceMap(nil, "Dockerfile", "Dockerfile", content)
	source.Definition = &llb.Definition{}
	results, err := dockerfile2llb.DockerfileLint(t.Context(), content, dockerfile2llb.ConvertOpt{
		SourceMap:      source,
		MetaResolver:   anyImage{},
		TargetPlatform: &ocispecs.Platform{OS: "linux", Architecture: "amd64"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	if results.Error != nil {
		return []string{results.Error.Message}
	}
	for _, warning := range results.Warnings {
		found = append(found, warning.RuleName+": "+warning.Detail)
	}
	parsed, err := parser.Parse(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	return append(found, houseRules(stages)...)
}

// houseRules are what BuildKit has no rule for.
func houseRules(stages []instructions.Stage) []string {
	var found []string
	names := map[string]bool{"scratch": true}
	for _, stage := range stages {
		if err := pinned(stage.BaseName); err != nil && !names[stage.BaseName] {
			found = append(found, stage.BaseName+": "+err.Error())
		}
		for _, command := range stage.Commands {
			if copied, ok := command.(*instructions.CopyCommand); ok && copied.From != "" && !names[copied.From] {
				found = append(found, "COPY --from="+copied.From+": no such stage") // BuildKit would take it for an image
			}
		}
		names[stage.Name] = true
	}
	user, health := "", false
	for _, command := range stages[len(stages)-1].Commands {
		switch command := command.(type) {
		case *instructions.UserCommand:
			user = command.User
		case *instructions.HealthCheckCommand:
			health = slices.Index(command.Health.Test, "CMD") == 0 // not CMD-SHELL: there is no shell
		case *instructions.RunCommand:
			found = append(found, "the last stage runs a command, but has no shell")
		}
	}
	number, err := strconv.Atoi(strings.Split(user, ":")[0])
	if err != nil || number == 0 {
		found = append(found, "the last stage must run as a numeric user other than root, so that Kubernetes' runAsNonRoot can check it")
	}
	if !health {
		found = append(found, "the last stage needs a HEALTHCHECK without a shell")
	}
	return found
}

// pinned says what is wrong with an image's reference.
func pinned(reference string) error {
	_, tag, tagged := strings.Cut(reference[strings.LastIndex(reference, "/")+1:], ":")
	if !tagged || tag == "latest" || !strings.ContainsAny(tag, "0123456789") {
		return errors.New("is not pinned to a version")
	}
	return nil
}

func TestDockerfile(t *testing.T) {
	content, err := os.ReadFile(root + "Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems(t, content) {
		t.Error(problem)
	}
}

// The rules find what they are for.
func TestDockerfileRules(t *testing.T) {
	const good = "FROM golang:1.26.0 AS build\nRUN true\nFROM scratch\nCOPY --from=build /x /x\nUSER 1:1\nHEALTHCHECK CMD [\"/x\"]\nENTRYPOINT [\"/x\"]\n"
	for _, test := range []struct{ from, to, want string }{
		{"", "", ""},
		{"golang:1.26.0", "golang", "golang: is not pinned"},
		{"golang:1.26.0", "golang:latest", "golang:latest: is not pinned"},
		{"USER 1:1", "USER root", "must run as a numeric user"},
		{"USER 1:1", "USER 0", "must run as a numeric user"},
		{"USER 1:1\n", "", "must run as a numeric user"},
		{`CMD ["/x"]`, "CMD /x", "HEALTHCHECK without a shell"},
		{"USER 1:1", "RUN true\nUSER 1:1", "has no shell"},
		{`ENTRYPOINT ["/x"]`, "ENTRYPOINT /x", "JSONArgsRecommended"},
		{"--from=build", "--from=biuld", "COPY --from=biuld: no such stage"},
		{"COPY --from", "COPPY --from", "unknown instruction: COPPY"},
		{"AS build", "as build", "FromAsCasing"},
	} {
		found := strings.Join(problems(t, []byte(strings.Replace(good, test.from, test.to, 1))), "\n")
		if (found == "") != (test.want == "") || !strings.Contains(found, test.want) {
			t.Errorf("%q for %q: %q, want %q", test.to, test.from, found, test.want)
		}
	}
}
