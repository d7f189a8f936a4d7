package controlled

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// tokenFileInFolder is the file that is written where a folder is named: websockify reads all files of one.
	tokenFileInFolder = "gantry"
	maxTokenFile      = 1 << 20
	// vncStateFile in DataDir keeps which lines are ours, so that none outlives its time.
	vncStateFile = "vnc.json"
)

// vncTokens writes websockify's token files. Lines of others stay as they are; the file is replaced as a whole, so that websockify never
// reads half of one.
type vncTokens struct {
	folders folders
	state   string
	log     *slog.Logger

	mu     sync.Mutex
	lines  []vncLine
	timer  *time.Timer
	closed bool
}

// newVNCTokens takes up the lines of the daemon's last run: its services have ended with it, what was imported goes on.
func newVNCTokens(dirs folders, dataDir string, log *slog.Logger) (*vncTokens, error) {
	t := &vncTokens{folders: dirs, state: filepath.Join(dataDir, vncStateFile), log: log}
	var known []vncLine
	if err := readJSON(t.state, &known); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, line := range known {
		if line.Service || !line.Expires.After(time.Now()) {
			if err := t.write(line, false); err != nil {
				log.Error("a VNC token could not be removed", "error", err)
			}
			continue
		}
		t.lines = append(t.lines, line)
	}
	return t, t.keep()
}

// add writes a line in place of the one that its token had.
func (t *vncTokens) add(line vncLine) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.write(line, true); err != nil {
		return err
	}
	t.drop(line)
	t.lines = append(t.lines, line)
	return t.keep()
}

// replace is add after the removal of a line that may be in another file or have another token.
func (t *vncTokens) replace(old, line vncLine) error {
	if old.File != line.File || old.Token != line.Token {
		if err := t.remove(old); err != nil {
			return err
		}
	}
	return t.add(line)
}

// remove takes a line out, unless its token leads elsewhere by now.
func (t *vncTokens) remove(line vncLine) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := slices.IndexFunc(t.lines, func(known vncLine) bool { return known.File == line.File && known.text() == line.text() })
	if at < 0 {
		return nil
	}
	t.lines = slices.Delete(t.lines, at, at+1)
	return errors.Join(t.write(line, false), t.keep())
}

func (t *vncTokens) drop(line vncLine) {
	t.lines = slices.DeleteFunc(t.lines, func(known vncLine) bool { return known.File == line.File && known.Token == line.Token })
}

// keep stores which lines are ours and sets the clock to the next one that expires. Services see to their own end.
func (t *vncTokens) keep() error {
	if t.timer != nil {
		t.timer.Stop()
	}
	next := time.Time{}
	for _, line := range t.lines {
		if !line.Service && (next.IsZero() || line.Expires.Before(next)) {
			next = line.Expires
		}
	}
	if !next.IsZero() && !t.closed {
		t.timer = time.AfterFunc(time.Until(next), t.expire)
	}
	return writeJSONAtomically(t.state, t.lines)
}

func (t *vncTokens) expire() {
	t.mu.Lock()
	var over []vncLine
	for _, line := range t.lines {
		if !line.Service && !line.Expires.After(time.Now()) {
			over = append(over, line)
		}
	}
	t.mu.Unlock()
	for _, line := range over {
		if err := t.remove(line); err != nil {
			t.log.Error("a VNC token could not be removed", "error", err)
		}
	}
}

func (t *vncTokens) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.timer != nil {
		t.timer.Stop()
	}
}

// write replaces the token's line in its file, or takes it out.
func (t *vncTokens) write(line vncLine, present bool) error {
	const field = "vnc_file_path"
	root, name, err := t.open(field, line.File)
	if err != nil {
		return err
	}
	defer root.Close()
	content, err := readTokenFile(root, name)
	if err != nil {
		return err
	}
	var kept strings.Builder
	for text := range strings.Lines(content) {
		text = strings.TrimRight(text, "\r\n")
		if text != "" && !line.is(text) {
			kept.WriteString(text + "\n")
		}
	}
	if present {
		kept.WriteString(line.text() + "\n")
	}
	temporary := "." + name + ".new"
	if err := root.WriteFile(temporary, []byte(kept.String()), 0o644); err != nil { // websockify does not run as root everywhere
		return pathFault(field, err)
	}
	if err := root.Rename(temporary, name); err != nil {
		return pathFault(field, err)
	}
	return nil
}

// open gives the folder of a token file and its name: path is the file, or a folder of such files.
func (t *vncTokens) open(field, path string) (*os.Root, string, error) {
	if root, err := t.folders.open(field, path); err == nil {
		return root, tokenFileInFolder, nil
	}
	if err := checkName(field, filepath.Base(path)); err != nil {
		return nil, "", err
	}
	root, err := t.folders.open(field, filepath.Dir(path))
	return root, filepath.Base(path), err
}

func readTokenFile(root *os.Root, name string) (string, error) {
	file, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", pathFault("vnc_file_path", err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxTokenFile+1))
	if err != nil {
		return "", pathFault("vnc_file_path", err)
	}
	if len(content) > maxTokenFile {
		return "", invalid("vnc_file_path", "is larger than %d bytes", maxTokenFile)
	}
	return string(content), nil
}

// copyAll copies until either side ends; how is of no interest.
func copyAll(to io.Writer, from io.Reader) { _, _ = io.Copy(to, from) }
