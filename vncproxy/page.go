package vncproxy

import (
	"io/fs"
	"net/http"
	"path"
	"strings"

	"gantry/web"
)

// basePolicy lets the page run its own scripts and talk to its own host, and nothing else. noVNC draws on a canvas and uses
// data: and blob: pictures for cursors and JPEG rectangles.
const basePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

// contentPolicy also lets the pages of allowed origins, such as the panel's, embed the console.
func (p *Proxy) contentPolicy() string {
	return strings.Join(append([]string{basePolicy}, p.origins...), " ")
}

// newPage serves the console page and its assets; without them in the binary it says so at every request.
func (p *Proxy) newPage() http.Handler {
	files, err := web.Console()
	if err != nil {
		p.log.Error("the console page can't be served", "error", err)
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		})
	}
	return servePage(files, p.contentPolicy())
}

func servePage(files fs.FS, contentPolicy string) http.Handler {
	server := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", contentPolicy)
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		if strings.HasPrefix(r.URL.Path, "assets/") {
			// Vite puts a hash of the content into these names.
			if info, err := fs.Stat(files, path.Clean(r.URL.Path)); err != nil || info.IsDir() {
				http.NotFound(w, r)
				return
			}
			header.Set("Cache-Control", "public, max-age=31536000, immutable")
		} else {
			header.Set("Cache-Control", "no-cache")
		}
		server.ServeHTTP(w, r)
	})
}
