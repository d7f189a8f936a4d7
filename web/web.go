// Package web holds what browsers load: the pages that `npm run build` made of this folder, embedded into the binary.
package web

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// ErrNotBuilt says that the binary was built before the pages were: run `npm ci && npm run build` in web/, then build again.
var ErrNotBuilt = errors.New("page not built: run `npm ci && npm run build` in web/ and build the program again")

// Console is the console page with its assets: index.html stands at the root. ErrNotBuilt when it is not in this binary.
func Console() (fs.FS, error) { return page("console") }

// Panel is the operator's panel with its assets: index.html stands at the root; beside an asset may stand the same file compressed,
// with .br or .gz after its name. ErrNotBuilt when it is not in this binary.
func Panel() (fs.FS, error) { return page("panel") }

// page is one entry of the build, a folder with an index.html.
func page(name string) (fs.FS, error) {
	folder, err := fs.Sub(dist, "dist/"+name)
	if err != nil {
		return nil, fmt.Errorf("open %s page: %w", name, err)
	}
	if _, err := fs.Stat(folder, "index.html"); err != nil {
		return nil, fmt.Errorf("%s %w", name, ErrNotBuilt)
	}
	return folder, nil
}
