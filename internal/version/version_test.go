package version

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestDescribe(t *testing.T) {
	recorded := func(main string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: main}, Settings: settings}
	}
	clean := []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}}
	changed := append(clean[:2:2], debug.BuildSetting{Key: "vcs.modified", Value: "true"})
	where := " (" + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + ")"

	for _, test := range []struct {
		name   string
		linked Info
		build  *debug.BuildInfo
		want   string
	}{
		{"nothing known", Info{}, nil, "gantry dev"},
		{"go run", Info{}, recorded("(devel)"), "gantry dev"},
		{"go build in a clone", Info{}, recorded("(devel)", clean...), "gantry dev commit abc of 2026-01-02T03:04:05Z"},
		{"changed sources", Info{}, recorded("(devel)", changed...), "gantry dev commit abc-dirty of 2026-01-02T03:04:05Z"},
		{"pseudo-version", Info{}, recorded("v0.0.0-20260102030405-abc", clean[0]), "gantry dev commit abc"},
		{"go install of a tag", Info{}, recorded("v1.2.3"), "gantry v1.2.3"},
		{"linked", Info{Version: "v2.0.0", Commit: "def", Date: "2026-05-06T00:00:00Z"}, recorded("(devel)", changed...), "gantry v2.0.0 commit def of 2026-05-06T00:00:00Z"},
		{"linked in part", Info{Version: "v2.0.0"}, recorded("(devel)", clean...), "gantry v2.0.0 commit abc of 2026-01-02T03:04:05Z"},
	} {
		if got := describe(test.linked, test.build).String(); got != test.want+where {
			t.Errorf("%s: %q, want %q", test.name, got, test.want+where)
		}
	}
	if Current().Version == "" {
		t.Error("the running build has no version")
	}
}
