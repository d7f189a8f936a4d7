package controlled

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	wire "gantry/internal/controlledclient"
)

// benchNode is a running daemon whose folders go with the benchmark.
func benchNode(b *testing.B) (*wire.Client, Config) {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	n := configOf(b.TempDir(), self)
	for _, dir := range []string{n.ImageDirs[0], n.QMCommand[2]} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
	}
	n.MaxOperations = 1 << 20
	ctx, cancel := context.WithCancel(context.Background())
	server, err := Start(ctx, n)
	if err != nil {
		b.Fatal(err)
	}
	client, err := wire.New(server.URL(), server.Secret(), server.Pin())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		client.Close()
		cancel()
		if err := server.Wait(); err != nil {
			b.Error(err)
		}
	})
	return client, n
}

func BenchmarkStatus(b *testing.B) {
	client, _ := benchNode(b)
	for b.Loop() {
		if _, err := client.Status(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDownload is order to published file of 256 MiB over loopback, with and without verification.
func BenchmarkDownload(b *testing.B) {
	const size = 256 << 20
	source := filepath.Join(b.TempDir(), "image")
	if err := os.WriteFile(source, make([]byte, size), 0o600); err != nil {
		b.Fatal(err)
	}
	file, err := os.Open(source)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	sum, err := checksumOf(context.Background(), file, "sha256:")
	if err != nil {
		b.Fatal(err)
	}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, source) }))
	defer origin.Close()
	for name, checksum := range map[string]string{"plain": "", "sha256": sum} {
		b.Run(name, func(b *testing.B) {
			client, config := benchNode(b)
			b.SetBytes(size)
			count := 0
			for b.Loop() {
				count++
				order := wire.DownloadOrder{URL: origin.URL, Folder: config.ImageDirs[0], File: fmt.Sprint(count), Checksum: checksum}
				for state := wire.DownloadQueued; state != wire.DownloadDone; <-time.After(time.Millisecond) {
					download, err := client.Download(context.Background(), order)
					if err != nil || download.State == wire.DownloadFailed {
						b.Fatal(download, err)
					}
					state = download.State
				}
				if err := client.DeleteFile(context.Background(), order.Folder, order.File); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkImportAccepted is the time in which an import is durably accepted and its supervisor started.
func BenchmarkImportAccepted(b *testing.B) {
	client, config := benchNode(b)
	image := filepath.Join(config.ImageDirs[0], "debian.qcow2")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		operation, err := client.ImportDisk(context.Background(), wire.ImportDisk{VMID: vmidImports, ImagePath: image, SavePath: "local"})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer() // what qm itself needs is not the daemon's
		for operation.State == wire.OperationRunning {
			if operation, err = client.Operation(context.Background(), operation.ID); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
	}
}
