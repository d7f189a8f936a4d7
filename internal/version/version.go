// Package version tells which build of Gantry is running.
package version

import (
	"runtime"
	"runtime/debug"
	"strings"
)

// The linker sets these (Makefile: -X gantry/internal/version.version=…). Empty ones are taken from what the Go tool
// records in every binary.
var version, commit, date string

// Info describes a build.
type Info struct {
	Version string `json:"version"` // "v1.2.3", or "dev" for a build that no tag names
	Commit  string `json:"commit"`  // git revision with "-dirty" behind it for changed sources; "" when not known
	Date    string `json:"date"`    // of the commit, RFC 3339; "" when not known
	Go      string `json:"go"`      // "go1.26.0"
	System  string `json:"system"`  // "linux/amd64"
}

// Current is the running build.
func Current() Info {
	build, _ := debug.ReadBuildInfo()
	return describe(Info{Version: version, Commit: commit, Date: date}, build)
}

// describe fills what the linker did not set.
func describe(linked Info, build *debug.BuildInfo) Info {
	info := linked
	info.Go, info.System = runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH
	recorded := map[string]string{}
	if build != nil {
		for _, setting := range build.Settings {
			recorded[setting.Key] = setting.Value
		}
		// "(devel)" and pseudo-versions (v0.0.0-…) name no release.
		if info.Version == "" && build.Main.Version != "(devel)" && !strings.HasPrefix(build.Main.Version, "v0.0.0-") {
			info.Version = build.Main.Version
		}
	}
	if info.Commit == "" && recorded["vcs.revision"] != "" {
		info.Commit = recorded["vcs.revision"]
		if recorded["vcs.modified"] == "true" {
			info.Commit += "-dirty"
		}
	}
	if info.Date == "" {
		info.Date = recorded["vcs.time"]
	}
	if info.Version == "" {
		info.Version = "dev"
	}
	return info
}

// String is one line for people.
func (i Info) String() string {
	text := "gantry " + i.Version
	if i.Commit != "" {
		text += " commit " + i.Commit
	}
	if i.Date != "" {
		text += " of " + i.Date
	}
	return text + " (" + i.Go + " " + i.System + ")"
}
