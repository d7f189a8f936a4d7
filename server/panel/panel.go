// Package panel serves the operator's web panel below the secret admin path.
package panel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

// Config sets a panel up. Files and AdminPath are required.
type Config struct {
	// Files is the built panel, see web.Panel.
	Files fs.FS
	// AdminPath is the secret first segment of the panel's URLs, without slashes.
	AdminPath string
	// ConsoleURLs lists the addresses of console proxies whose page the panel may embed; nil = none.
	ConsoleURLs func(ctx context.Context) []string
}

// Panel is the handler.
type Panel struct {
	files       fs.FS
	root        string // "/<admin path>/"
	index       []byte
	consoleURLs func(ctx context.Context) []string
}

// basePlace is where index.html tells its own address, relative to which it names everything else.
const basePlace = `<base href="./" />`

// New reads index.html.
func New(config Config) (*Panel, error) {
	index, err := fs.ReadFile(config.Files, "index.html")
	if err != nil {
		return nil, fmt.Errorf("read the panel's page: %w", err)
	}
	if bytes.Count(index, []byte(basePlace)) != 1 {
		return nil, errors.New("the panel's page has no single " + basePlace)
	}
	root := "/" + config.AdminPath + "/"
	base := `<base href="` + html.EscapeString(root) + `" />`
	p := &Panel{
		files: config.Files, root: root, index: bytes.Replace(index, []byte(basePlace), []byte(base), 1),
		consoleURLs: config.ConsoleURLs,
	}
	if p.consoleURLs == nil {
		p.consoleURLs = func(context.Context) []string { return nil }
	}
	return p, nil
}

// Serves tells whether a request that no route wants is for the panel: a file of it, or a page that a browser asks for. All else,
// like a call that an API client misspelt, is not.
func (p *Panel) Serves(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	if r.URL.Path == strings.TrimSuffix(p.root, "/") {
		return wantsPage(r)
	}
	name, below := strings.CutPrefix(r.URL.Path, p.root)
	return below && (p.isFile(name) || wantsPage(r))
}

// ServeHTTP answers what Serves is true for.
func (p *Panel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == strings.TrimSuffix(p.root, "/") {
		http.Redirect(w, r, p.root, http.StatusFound)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, p.root)
	if p.isFile(name) {
		p.serveFile(w, r, name)
		return
	}
	header := w.Header()
	header.Set("Content-Security-Policy", policy(p.consoleURLs(r.Context())))
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
	header.Set("Vary", "Accept")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(p.index))
}

// wantsPage tells a browser that opens an address from a program that makes a call.
func wantsPage(r *http.Request) bool {
	return strings.Contains(strings.ToLower(r.Header.Get("Accept")), "text/html")
}

// isFile tells whether the build has this file. index.html is none: it is served with its address filled in.
func (p *Panel) isFile(name string) bool {
	if name == "index.html" || !fs.ValidPath(name) || compressed(name) {
		return false
	}
	info, err := fs.Stat(p.files, name)
	return err == nil && info.Mode().IsRegular()
}

func compressed(name string) bool {
	return strings.HasSuffix(name, ".br") || strings.HasSuffix(name, ".gz")
}

// assets is the folder where the build puts a hash of the content into every name.
const assets = "assets/"

func (p *Panel) serveFile(w http.ResponseWriter, r *http.Request, name string) {
	header := w.Header()
	header.Set("Cache-Control", "no-cache")
	if strings.HasPrefix(name, assets) {
		header.Set("Cache-Control", "private, max-age=31536000, immutable")
	}
	header.Set("Content-Type", contentType(name))
	header.Set("Vary", "Accept-Encoding")
	stored, encoding := name, ""
	for _, form := range []struct{ encoding, extension string }{{"br", ".br"}, {"gzip", ".gz"}} {
		if _, err := fs.Stat(p.files, name+form.extension); err == nil && accepts(r, form.encoding) {
			stored, encoding = name+form.extension, form.encoding
			break
		}
	}
	content, err := fs.ReadFile(p.files, stored)
	if err != nil {
		http.Error(w, "the file can't be read", http.StatusInternalServerError)
		return
	}
	if encoding != "" {
		header.Set("Content-Encoding", encoding)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// contentType does not ask the system's own table, which differs from machine to machine.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	case ".woff2":
		return "font/woff2"
	}
	return "application/octet-stream"
}

// accepts reads Accept-Encoding (RFC 9110 §12.5.3): a coding that is named and not refused by q=0.
func accepts(r *http.Request, encoding string) bool {
	for item := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(item, ";")
		if !strings.EqualFold(strings.TrimSpace(name), encoding) {
			continue
		}
		value, found := strings.CutPrefix(strings.ToLower(strings.TrimSpace(weight)), "q=")
		return !found || strings.Trim(value, "0.") != ""
	}
	return false
}

// policy lets the page run its own files and talk to its own host, and show the consoles' pages in frames. Nothing is inline.
func policy(consoles []string) string {
	frames := "'none'"
	if origins := originsOf(consoles); len(origins) > 0 {
		frames = strings.Join(origins, " ")
	}
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
		"frame-src " + frames + "; base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
}

// originsOf gives scheme://host[:port] of each address; what is none is left out.
func originsOf(addresses []string) []string {
	var origins []string
	for _, address := range addresses {
		parsed, err := url.Parse(address)
		if err != nil || (parsed.Scheme != "https" && parsed.Scheme != "http") || parsed.Host == "" || strings.ContainsAny(parsed.Host, " ;,'\"") {
			continue
		}
		origins = append(origins, parsed.Scheme+"://"+parsed.Host)
	}
	return origins
}
