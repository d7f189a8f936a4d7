package demo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	// imageFileName is what the demo's image is called in the registry.
	imageFileName = "gantry-demo-linux.qcow2"
	// builtImage is where `make image` puts the tiny cloud image.
	builtImage = "var/image/gantry-guest.qcow2"
)

// chooseGuests decides whether guests are real and which image they boot.
func (d *demo) chooseGuests() error {
	image := d.config.Image
	if image == "" {
		image = builtImage
	}
	missing := missingForQEMU(image)
	switch {
	case d.config.QEMU == QEMUOn || d.config.Hypervisor == Libvirt:
		if missing != nil {
			return missing
		}
		d.qemu = true
	case d.config.QEMU == QEMUOff:
	default:
		d.qemu = missing == nil
	}
	absolute, err := filepath.Abs(image)
	if err != nil {
		return err
	}
	d.image = absolute
	if _, err := os.Stat(image); !d.qemu && errors.Is(err, fs.ErrNotExist) {
		d.image = filepath.Join(d.config.DataDir, "empty.qcow2")
		return os.WriteFile(d.image, emptyQCOW2(), 0o600)
	}
	return nil
}

func missingForQEMU(image string) error {
	for _, program := range []string{"qemu-system-x86_64", "qemu-img"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("real guests need %s (Debian packages qemu-system-x86 and qemu-utils)", program)
		}
	}
	if _, err := os.Stat(image); err != nil {
		return fmt.Errorf("real guests need the image %s: run `make image`, or name another with --image", image)
	}
	return nil
}

// emptyQCOW2 is a valid empty image of 64 MiB for guests in memory (QEMU's docs/interop/qcow2.txt, version 2): header, one
// cluster each of refcount table, refcount block and L1 table.
func emptyQCOW2() []byte {
	const cluster = 1 << 16
	image := make([]byte, 4*cluster)
	header := []any{
		[4]byte{'Q', 'F', 'I', 0xfb}, uint32(2), uint64(0), uint32(0), uint32(16), uint64(64 << 20), uint32(0), uint32(1),
		uint64(3 * cluster), uint64(cluster), uint32(1), uint32(0), uint64(0),
	}
	offset := 0
	for _, field := range header {
		written, err := binary.Encode(image[offset:], binary.BigEndian, field)
		if err != nil {
			return nil // can't be: every field has a fixed size and fits
		}
		offset += written
	}
	binary.BigEndian.PutUint64(image[cluster:], 2*cluster)
	for i := range 4 {
		binary.BigEndian.PutUint16(image[2*cluster+2*i:], 1)
	}
	return image
}

// fileServer offers the demo's image to the node, as a mirror would.
type fileServer struct {
	server *http.Server
	url    string
}

func serveImage(path string) (*fileServer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("offer the image: %w", err)
	}
	routes := http.NewServeMux()
	routes.HandleFunc("GET /"+imageFileName, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) })
	served := &fileServer{
		server: &http.Server{Handler: routes, ReadHeaderTimeout: 10 * time.Second},
		url:    "http://" + listener.Addr().String() + "/" + imageFileName,
	}
	go func() { _ = served.server.Serve(listener) }()
	return served, nil
}

func (f *fileServer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = f.server.Shutdown(ctx)
}

func (d *demo) imageURL() string { return d.files.url }
