package controlled

import (
	"io"
	"io/fs"
	"os"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	wire "gantry/internal/controlledclient"
)

const (
	maxListedFiles = 10_000
	maxReadFile    = 1 << 20
)

// files lists, reads and deletes inside the configured folders.
type files struct {
	readable  folders
	writable  folders
	downloads *downloads
}

func (f *files) routes(router gin.IRoutes) {
	router.GET("/pathFile", f.list)
	router.POST("/readFile", f.read)
	router.POST("/deleteFile", f.remove)
}

func (f *files) list(c *gin.Context) {
	folder, err := f.readable.open("path", c.Query("path"))
	if err != nil {
		fail(c, err)
		return
	}
	defer folder.Close()
	names, err := namesIn(folder)
	if err != nil {
		fail(c, err)
		return
	}
	succeed(c, wire.FileList{Files: names})
}

func namesIn(folder *os.Root) ([]string, error) {
	handle, err := folder.Open(".")
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	names, err := handle.Readdirnames(maxListedFiles + 1)
	if err == io.EOF {
		return []string{}, nil
	}
	if err != nil {
		return nil, err
	}
	if len(names) > maxListedFiles {
		return nil, refused(wire.ReasonFailed, "path holds more than %d files", maxListedFiles)
	}
	return names, nil
}

func (f *files) read(c *gin.Context) {
	var body struct {
		Path     string `json:"path"`
		FileName string `json:"filename"`
	}
	if err := readBody(c, &body); err != nil {
		fail(c, err)
		return
	}
	if err := checkName("filename", body.FileName); err != nil {
		fail(c, err)
		return
	}
	folder, err := f.readable.open("path", body.Path)
	if err != nil {
		fail(c, err)
		return
	}
	defer folder.Close()
	content, err := readText(folder, body.FileName)
	if err != nil {
		fail(c, err)
		return
	}
	succeed(c, wire.FileContent{Data: content})
}

func readText(folder *os.Root, name string) (string, error) {
	if err := regularFile(folder, "file", name); err != nil {
		return "", err
	}
	handle, err := folder.Open(name)
	if err != nil {
		return "", pathFault("file", err)
	}
	defer handle.Close()
	content, err := io.ReadAll(io.LimitReader(handle, maxReadFile+1))
	if err != nil {
		return "", err
	}
	if len(content) > maxReadFile {
		return "", invalid("filename", "names a file larger than %d bytes", maxReadFile)
	}
	if !utf8.Valid(content) {
		return "", invalid("filename", "names a file that is not text")
	}
	return string(content), nil
}

// regularFile refuses folders, devices and pipes (opening a pipe would block).
func regularFile(folder *os.Root, field, name string) error {
	info, err := folder.Stat(name)
	if err != nil {
		return pathFault(field, err)
	}
	if !info.Mode().IsRegular() {
		return notFound(field + " is not a regular file")
	}
	return nil
}

// remove deletes a file; of a download that is unfinished or has failed it deletes the partial file and the memory of it.
func (f *files) remove(c *gin.Context) {
	var body struct {
		Path string `json:"path"`
		File string `json:"file"`
	}
	if err := readBody(c, &body); err != nil {
		fail(c, err)
		return
	}
	if err := checkName("file", body.File); err != nil {
		fail(c, err)
		return
	}
	folder, err := f.writable.open("path", body.Path)
	if err != nil {
		fail(c, err)
		return
	}
	defer folder.Close()
	forgotten, err := f.downloads.forget(c.Request.Context(), body.Path, body.File)
	if err != nil {
		fail(c, err)
		return
	}
	if err := removeFile(folder, body.File); err != nil && !(forgotten && isNotFound(err)) {
		fail(c, err)
		return
	}
	succeed(c, nil)
}

func removeFile(folder *os.Root, name string) error {
	info, err := folder.Lstat(name)
	if err != nil {
		return pathFault("file", err)
	}
	// A symbolic link is removed itself; what it points to stays. Folders, devices and sockets are nobody's image.
	if !info.Mode().IsRegular() && info.Mode()&fs.ModeSymlink == 0 {
		return notFound("file is not a regular file")
	}
	if err := folder.Remove(name); err != nil {
		return pathFault("file", err)
	}
	return nil
}
