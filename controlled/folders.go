package controlled

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"
)

const (
	maxPathLength = 4096 // PATH_MAX
	maxNameLength = 200  // NAME_MAX less what suffixes need
)

// folders are the trees that callers may name paths in.
type folders []string

// open returns the folder that path names. Whatever is then done through the returned root cannot leave the configured
// tree, be it by "..", by a symbolic link or by a link that appears later: os.Root resolves every component with openat.
// The folder is opened anew each time, so that a file system mounted after the daemon's start is seen.
func (f folders) open(field, path string) (*os.Root, error) {
	top, below, err := f.locate(field, path)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, pathFault(field, err)
	}
	if below == "." {
		return root, nil
	}
	defer root.Close()
	info, err := root.Stat(below)
	if err != nil {
		return nil, pathFault(field, err)
	}
	if !info.IsDir() {
		return nil, notFound(field + " is not a directory")
	}
	folder, err := root.OpenRoot(below)
	if err != nil {
		return nil, pathFault(field, err)
	}
	return folder, nil
}

// locate splits path into the configured folder that holds it and the rest.
func (f folders) locate(field, path string) (top, below string, err error) {
	switch {
	case path == "":
		return "", "", invalid(field, "is missing")
	case len(path) > maxPathLength || !printable(path):
		return "", "", invalid(field, "is no usable path")
	case !filepath.IsAbs(path):
		return "", "", invalid(field, "must be an absolute path")
	}
	clean := filepath.Clean(path)
	for _, dir := range f {
		dir = filepath.Clean(dir)
		if clean == dir {
			return dir, ".", nil
		}
		if strings.HasPrefix(clean, dir+"/") && len(dir) > len(top) {
			top, below = dir, clean[len(dir)+1:]
		}
	}
	if top == "" {
		return "", "", forbidden(field, "is outside the configured folders")
	}
	return top, below, nil
}

// pathFault words a file system error for the caller without telling what lies outside the tree.
func pathFault(field string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return notFound(field + " not found")
	case errors.Is(err, syscall.ENOTDIR):
		return notFound(field + " is not a directory")
	case escapes(err):
		return forbidden(field, "is outside the configured folders")
	}
	return err
}

// escapes recognises os.Root's refusal, which has no exported error value.
func escapes(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path) && path.Err != nil && path.Err.Error() == "path escapes from parent"
}

// checkName accepts one plain file name.
func checkName(field, name string) error {
	switch {
	case name == "":
		return invalid(field, "is missing")
	case len(name) > maxNameLength:
		return invalid(field, "is longer than %d bytes", maxNameLength)
	case name == "." || name == ".." || strings.ContainsRune(name, '/') || !printable(name):
		return invalid(field, "must be a plain file name")
	}
	return nil
}

func printable(text string) bool {
	if !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
