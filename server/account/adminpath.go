package account

import (
	"context"
	"crypto/rand"
	"regexp"
	"slices"
	"strings"

	"gantry/server/broker"
)

const adminPathSetting = "admin_path"

// adminPathPattern: one URL segment. An operator may choose a short one; generated ones have 20 characters.
var adminPathPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// reservedPaths are first segments that other routes need.
var reservedPaths = []string{"api", "internal", "healthz", "readyz", "metrics", "console", "assets", "static"}

// AdminPath gives the secret first segment of the admin's URLs. configured wins when it is not empty; else the stored one, which
// is made at the first start (100 random bits).
func AdminPath(ctx context.Context, store broker.SettingStore, configured string) (string, error) {
	path := strings.Trim(configured, "/")
	if path == "" {
		stored, err := store.InsertSetting(ctx, adminPathSetting, strings.ToLower(rand.Text())[:20], true)
		if err != nil {
			return "", broker.Wrap(err, "store the admin path")
		}
		path = stored
	}
	return path, CheckAdminPath(path)
}

// CheckAdminPath refuses a path that is not one plain URL segment or that another route needs.
func CheckAdminPath(path string) error {
	if !adminPathPattern.MatchString(path) {
		return broker.InvalidField("adminPath", "must be one URL segment of letters, digits, '-' and '_', 64 at most")
	}
	if slices.Contains(reservedPaths, strings.ToLower(path)) {
		return broker.InvalidField("adminPath", "%q is used by another route", path)
	}
	return nil
}
