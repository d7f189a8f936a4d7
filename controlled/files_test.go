package controlled

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// newTree has a file in and out of the image folder and every kind of link between.
func newTree(t *testing.T) (n *node, outside string) {
	t.Helper()
	n = newNode(t)
	outside = filepath.Join(filepath.Dir(n.images), "outside")
	readable := filepath.Join(filepath.Dir(n.images), "readable")
	n.config.ReadDirs = []string{readable}
	for _, dir := range []string{outside, readable, filepath.Join(n.images, "sub")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	n.write("a.txt", "inside")
	n.write("sub/b.txt", "below")
	n.write("binary", "\xff\xfe")
	n.write("large", strings.Repeat("x", maxReadFile+1))
	for path, content := range map[string]string{outside + "/secret": "secret", readable + "/interfaces": "auto lo"} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"file-out": outside + "/secret", "dir-out": outside, "dir-in": "sub", "file-in": "a.txt", "up": "../outside/secret"} {
		if err := os.Symlink(to, filepath.Join(n.images, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(n.images, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	return n.start(), outside
}

func TestListFiles(t *testing.T) {
	n, outside := newTree(t)
	for name, row := range map[string]struct {
		path  string
		files []string
		want  string
	}{
		"below":           {n.images + "/sub", []string{"b.txt"}, ""},
		"trailing slash":  {n.images + "/sub/", []string{"b.txt"}, ""},
		"dots inside":     {n.images + "/sub/../sub", []string{"b.txt"}, ""},
		"link inside":     {n.images + "/dir-in", []string{"b.txt"}, ""},
		"readable":        {n.config.ReadDirs[0], []string{"interfaces"}, ""},
		"missing":         {n.images + "/none", nil, "not_found not_found"},
		"a file":          {n.images + "/a.txt", nil, "not_found not_found"},
		"no path":         {"", nil, "refused invalid path"},
		"relative":        {"images", nil, "refused invalid path"},
		"outside":         {outside, nil, "refused forbidden path"},
		"root":            {"/", nil, "refused forbidden path"},
		"outside by dots": {n.images + "/../outside", nil, "refused forbidden path"},
		"same prefix":     {n.images + "x", nil, "refused forbidden path"},
		"link outside":    {n.images + "/dir-out", nil, "refused forbidden path"},
		"NUL":             {n.images + "/\x00", nil, "refused invalid path"},
		"very long":       {n.images + strings.Repeat("/x", maxPathLength), nil, "refused invalid path"},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := n.client.ListFiles(context.Background(), row.path)
			if kindOf(err) != row.want || !slices.Equal(files, row.files) {
				t.Errorf("got %q, %v", files, err)
			}
			if err != nil && strings.Contains(err.Error(), outside) {
				t.Error("the error tells a path of the node")
			}
		})
	}
	if _, body := n.raw("GET", "/pathFile?path="+n.images+"/sub", "", n.server.Secret()); body != `{"code":200,"message":"success","data":{"files":["b.txt"]}}` {
		t.Errorf("got %s", body)
	}
	if err := os.Mkdir(filepath.Join(n.images, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, body := n.raw("GET", "/pathFile?path="+n.images+"/empty", "", n.server.Secret()); body != `{"code":200,"message":"success","data":{"files":[]}}` {
		t.Errorf("an empty folder answers %s", body)
	}
}

func TestReadFile(t *testing.T) {
	n, outside := newTree(t)
	for name, row := range map[string]struct{ path, file, content, want string }{
		"inside":       {n.images, "a.txt", "inside", ""},
		"below":        {n.images + "/sub", "b.txt", "below", ""},
		"link inside":  {n.images, "file-in", "inside", ""},
		"readable":     {n.config.ReadDirs[0], "interfaces", "auto lo", ""},
		"missing":      {n.images, "none", "", "not_found not_found"},
		"folder":       {n.images, "sub", "", "not_found not_found"},
		"pipe":         {n.images, "pipe", "", "not_found not_found"},
		"binary":       {n.images, "binary", "", "refused invalid filename"},
		"too large":    {n.images, "large", "", "refused invalid filename"},
		"no name":      {n.images, "", "", "refused invalid filename"},
		"path as name": {n.images, "sub/b.txt", "", "refused invalid filename"},
		"up":           {n.images, "..", "", "refused invalid filename"},
		"outside":      {outside, "secret", "", "refused forbidden path"},
		"link outside": {n.images, "file-out", "", "refused forbidden file"},
		"link upwards": {n.images, "up", "", "refused forbidden file"},
		"through link": {n.images + "/dir-out", "secret", "", "refused forbidden path"},
	} {
		t.Run(name, func(t *testing.T) {
			content, err := n.client.ReadFile(context.Background(), row.path, row.file)
			if kindOf(err) != row.want || content != row.content {
				t.Errorf("got %q, %v", content, err)
			}
		})
	}
}

func TestDeleteFile(t *testing.T) {
	n, outside := newTree(t)
	for name, row := range map[string]struct{ path, file, want string }{
		"inside":           {n.images, "a.txt", ""},
		"twice":            {n.images, "none", "not_found not_found"},
		"below":            {n.images + "/sub", "b.txt", ""},
		"folder":           {n.images, "sub", "not_found not_found"},
		"link itself":      {n.images, "file-out", ""},
		"read only folder": {n.config.ReadDirs[0], "interfaces", "refused forbidden path"},
		"outside":          {outside, "secret", "refused forbidden path"},
		"up":               {n.images, "../outside/secret", "refused invalid file"},
		"through link":     {n.images + "/dir-out", "secret", "refused forbidden path"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := n.client.DeleteFile(context.Background(), row.path, row.file); kindOf(err) != row.want {
				t.Errorf("got %v", err)
			}
			if _, err := os.Lstat(filepath.Join(row.path, row.file)); row.want == "" && err == nil {
				t.Error("the file is still there")
			}
		})
	}
	for _, path := range []string{outside + "/secret", n.config.ReadDirs[0] + "/interfaces", n.images + "/sub"} {
		if !exists(path) {
			t.Errorf("%s is gone", path)
		}
	}
}

// FuzzPaths looks for a path that leaves the configured folders.
func FuzzPaths(f *testing.F) {
	base := f.TempDir()
	inside, outside := filepath.Join(base, "in"), filepath.Join(base, "out")
	for _, dir := range []string{inside, outside, filepath.Join(inside, "sub")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			f.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(outside, "canary"), nil, 0o600); err != nil {
		f.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(inside, "link")); err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", "sub", "../out", "link", "sub/../../out", "link/.", "./link/", "//", "sub/\x00", "../in/link"} {
		f.Add(seed, "canary")
	}
	f.Fuzz(func(t *testing.T, below, name string) {
		folder, err := (folders{inside}).open("path", inside+"/"+below)
		if err != nil {
			return
		}
		defer folder.Close()
		if _, err := folder.Stat("canary"); err == nil {
			t.Errorf("%q leads outside", below)
		}
		if checkName("file", name) == nil && (strings.Contains(name, "/") || name == "..") {
			t.Errorf("%q passes as a name", name)
		}
	})
}
