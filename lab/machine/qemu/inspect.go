package qemu

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// maxBackingChain bounds how many images may stand behind one another.
const maxBackingChain = 32

// inspect returns an image's format after it made sure that the image and all that stands behind it refer to no file
// outside of the backend's root: a downloaded image with the backing file /etc/shadow is an old trick.
func (b *Backend) inspect(ctx context.Context, path string) (format string, err error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("path %q is not absolute", path)
	}
	current := path
	for range maxBackingChain {
		info, err := b.imageInfo(ctx, current, formatByName(current))
		if err != nil {
			return "", err
		}
		if current == path {
			format = info.Format
		}
		if info.FormatSpecific.Data.DataFile != "" {
			return "", fmt.Errorf("image keeps its data in another file (%s)", info.FormatSpecific.Data.DataFile)
		}
		for _, extent := range info.FormatSpecific.Data.Extents {
			if !sameFile(extent.Filename, current) && !b.inRoot(extent.Filename) {
				return "", fmt.Errorf("image has an extent in another file (%s)", extent.Filename)
			}
		}
		if info.BackingFilename == "" {
			return format, nil
		}
		if !b.inRoot(info.FullBackingFilename) {
			return "", fmt.Errorf("image has a backing file (%s)", info.BackingFilename)
		}
		current = info.FullBackingFilename
	}
	return "", fmt.Errorf("image has more than %d backing files", maxBackingChain)
}

// inRoot tells whether a path, links followed, lies inside the root.
func (b *Backend) inRoot(path string) bool {
	if b.root == "" || !filepath.IsAbs(path) {
		return false
	}
	root, err := filepath.EvalSymlinks(b.root)
	if err != nil {
		return false
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	relative, err := filepath.Rel(root, real)
	return err == nil && filepath.IsLocal(relative)
}

func sameFile(a, b string) bool { return filepath.Clean(a) == filepath.Clean(b) }

// progressWriter reads qemu-img's "    (12.34/100%)" lines, each ended by a carriage return.
type progressWriter struct {
	report func(float64)
	rest   []byte
}

func (w *progressWriter) Write(p []byte) (int, error) {
	if w.report == nil {
		return len(p), nil
	}
	w.rest = append(w.rest, p...)
	for {
		end := bytes.IndexByte(w.rest, ')')
		if end < 0 {
			break
		}
		line := string(w.rest[:end])
		w.rest = w.rest[end+1:]
		number, _, _ := strings.Cut(line[strings.LastIndexByte(line, '(')+1:], "/")
		if percent, err := strconv.ParseFloat(number, 64); err == nil && percent >= 0 && percent <= 100 {
			w.report(percent / 100)
		}
	}
	if len(w.rest) > 256 {
		w.rest = nil
	}
	return len(p), nil
}
