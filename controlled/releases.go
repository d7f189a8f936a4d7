package controlled

import (
	"strconv"
	"strings"
)

// newer tells whether release comes after present, as semantic versions do (semver.org §11). Anything comes after a present one that is no
// version: a build of somebody's own.
func newer(release, present string) bool {
	want, ok := parseVersion(release)
	if !ok {
		return false
	}
	have, ok := parseVersion(present)
	if !ok {
		return true
	}
	for i := range want.numbers {
		if want.numbers[i] != have.numbers[i] {
			return want.numbers[i] > have.numbers[i]
		}
	}
	switch { // a pre-release comes before its release
	case want.pre == have.pre || want.pre != "" && have.pre == "":
		return false
	case want.pre == "":
		return true
	}
	return laterPre(want.pre, have.pre)
}

type releaseVersion struct {
	numbers [3]uint64
	pre     string
}

func parseVersion(text string) (releaseVersion, bool) {
	var version releaseVersion
	text, _, _ = strings.Cut(strings.TrimPrefix(text, "v"), "+") // build metadata does not count
	text, version.pre, _ = strings.Cut(text, "-")
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return version, false
	}
	for i, part := range parts {
		number, err := strconv.ParseUint(part, 10, 32)
		if err != nil {
			return version, false
		}
		version.numbers[i] = number
	}
	return version, true
}

// laterPre compares the parts of two pre-releases: numbers by value and before words, fewer parts before more.
func laterPre(a, b string) bool {
	left, right := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(left), len(right)) {
		if left[i] == right[i] {
			continue
		}
		x, xErr := strconv.ParseUint(left[i], 10, 64)
		y, yErr := strconv.ParseUint(right[i], 10, 64)
		switch {
		case xErr == nil && yErr == nil:
			return x > y
		case xErr == nil || yErr == nil:
			return xErr != nil
		}
		return left[i] > right[i]
	}
	return len(left) > len(right)
}
