// Package controlled is the daemon on a hypervisor node: it fetches images, imports them into guests with qm, and does the
// few other things that Proxmox VE's own API cannot. It speaks the ProxmoxVE-AMS daemon's calls (seed 003, 受控端) over
// HTTPS with a self-signed certificate that the server pins and a secret of its own.
package controlled

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/net/netutil"

	wire "gantry/internal/controlledclient"
	"gantry/internal/tlspin"
	"gantry/internal/version"
)

const (
	maxConnections  = 256
	shutdownTimeout = 10 * time.Second
	pruneInterval   = time.Hour
)

// Server is a running daemon.
type Server struct {
	address string
	pin     tlspin.Pin
	secret  string
	done    chan struct{}
	err     error
	// successor is the program that takes over after an update; set before done is closed.
	successor string
}

// URL is what clients call: "https://address:port".
func (s *Server) URL() string { return "https://" + s.address }

// ownURL is how the node itself reaches the daemon.
func (s *Server) ownURL() string {
	host, port, err := net.SplitHostPort(s.address)
	if err != nil {
		return s.URL()
	}
	if address, err := netip.ParseAddr(host); err == nil && address.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "https://" + net.JoinHostPort(host, port)
}

// Pin is the fingerprint of the daemon's certificate.
func (s *Server) Pin() tlspin.Pin { return s.pin }

// Secret is what clients send as Authorization.
func (s *Server) Secret() string { return s.secret }

// Wait returns when the daemon has stopped: nil after the end of the context given to Start.
func (s *Server) Wait() error {
	<-s.done
	return s.err
}

// Run runs the daemon until ctx ends.
func Run(ctx context.Context, config Config) error {
	server, err := Start(ctx, config)
	if err != nil {
		return err
	}
	return server.handOver()
}

// handOver waits for the daemon's end and, after an update, becomes the new program: in the same process, so that whoever supervises it
// sees no end. Everything that is open closes by itself.
func (s *Server) handOver() error {
	if err := s.Wait(); err != nil || s.successor == "" {
		return err
	}
	return fmt.Errorf("hand over to the new program: %w", syscall.Exec(s.successor, os.Args, os.Environ()))
}

// Start begins to listen and returns; the daemon runs until ctx ends, see Wait. The first start creates certificate and
// secret in DataDir. Unfinished downloads go on, unfinished operations are found again.
func Start(ctx context.Context, config Config) (*Server, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	config, err := complete(config)
	if err != nil {
		return nil, err
	}
	lock, err := lockDataDir(config.DataDir)
	if err != nil {
		return nil, err
	}
	server, err := start(ctx, config, lock)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return server, nil
}

// lockDataDir keeps a second daemon from writing the same downloads. The kernel lets go of the lock with the process.
func lockDataDir(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data_dir: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock data_dir: another daemon uses %s: %w", dir, err), lock.Close())
	}
	return lock, nil
}

func start(ctx context.Context, config Config, lock *os.File) (*Server, error) {
	certificate, pin, err := tlspin.Certificate(config.DataDir)
	if err != nil {
		return nil, err
	}
	secret, err := Secret(config.DataDir)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	downloads, err := newDownloads(ctx, config, config.Logger)
	if err != nil {
		cancel()
		return nil, errors.Join(fmt.Errorf("open downloads: %w", err), listener.Close())
	}
	operations, err := newOperations(config, config.Logger)
	if err != nil {
		cancel()
		downloads.wait()
		return nil, errors.Join(fmt.Errorf("open operations: %w", err), listener.Close())
	}
	s := &Server{address: listener.Addr().String(), pin: pin, secret: secret, done: make(chan struct{})}
	tokens, err := newVNCTokens(config.VNCDirs, config.DataDir, config.Logger)
	if err != nil {
		cancel()
		downloads.wait()
		return nil, errors.Join(fmt.Errorf("open VNC tokens: %w", err), listener.Close())
	}
	screens := &vncServices{ctx: ctx, qm: config.QMCommand, listen: config.VNCListen, tokens: tokens, log: config.Logger, services: map[int]*vncService{}}
	replacing := &updates{config: config, url: s.ownURL(), client: downloads.client, log: config.Logger, restart: func(program string) {
		s.successor = program
		cancel()
	}}
	config.Logger.Info("controlled listens", "address", s.address, "fingerprint", pin.String())
	go func() {
		defer close(s.done)
		s.err = serve(ctx, listener, certificate, routes(config, secret, downloads, operations, screens, replacing), config.Logger, operations)
		cancel()
		downloads.wait()
		screens.wait()
		s.err = errors.Join(s.err, lock.Close())
	}()
	return s, nil
}

// complete fills what has no fixed default and makes the folders.
func complete(config Config) (Config, error) {
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if config.Version == "" {
		config.Version = version.Current().Version
	}
	if len(config.SupervisorCommand) == 0 {
		self, err := os.Executable()
		if err != nil {
			return config, fmt.Errorf("find own executable: %w", err)
		}
		config.SupervisorCommand = []string{self, "controlled", "run-operation"}
	}
	if config.Executable == "" {
		self, err := os.Executable()
		if err != nil {
			return config, fmt.Errorf("find own executable: %w", err)
		}
		config.Executable = self
	}
	if len(config.GuardArguments) == 0 {
		config.GuardArguments = []string{"controlled", "guard-update"}
	}
	if err := os.MkdirAll(config.DataDir, 0o700); err != nil {
		return config, fmt.Errorf("create data_dir: %w", err)
	}
	for _, dir := range config.ImageDirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return config, fmt.Errorf("create image_dirs: %w", err)
		}
	}
	return config, nil
}

func routes(config Config, secret string, downloads *downloads, operations *operations, screens *vncServices, replacing *updates) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.HandleMethodNotAllowed = false
	router.RedirectTrailingSlash = false
	router.Use(logRequests(config.Logger), requireSecret(secret))
	router.NoRoute(func(c *gin.Context) {
		answer(c, http.StatusNotFound, wire.CodeNotFound, "Not Found", struct{}{})
	})
	statusRoutes(router, config.Version)
	images := folders(config.ImageDirs)
	readable := append(append(folders{}, images...), config.ReadDirs...)
	(&files{readable: readable, writable: images, downloads: downloads}).routes(router)
	downloads.routes(router)
	(&imports{qm: config.QMCommand, folders: images, operations: operations}).routes(router)
	operations.routes(router)
	screens.routes(router)
	replacing.routes(router)
	(&guests{qm: config.QMCommand, timeout: config.CommandTimeout}).routes(router)
	return router
}

// serve answers until ctx ends, then lets running requests finish for a moment.
func serve(ctx context.Context, listener net.Listener, certificate tls.Certificate, handler http.Handler, log *slog.Logger, operations *operations) error {
	server := &http.Server{
		Handler:           handler,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      maxCommandTimeout + 30*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(netutil.LimitListener(listener, maxConnections), "", "") }()
	prune := time.NewTicker(pruneInterval)
	defer prune.Stop()
	for {
		if err := operations.prune(time.Now()); err != nil {
			log.Error("old operations could not be removed", "error", err)
		}
		select {
		case err := <-ended:
			return fmt.Errorf("serve: %w", err)
		case <-prune.C:
		case <-ctx.Done():
			grace, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
			defer cancel()
			if err := server.Shutdown(grace); err != nil {
				return errors.Join(fmt.Errorf("shut down: %w", err), server.Close())
			}
			return nil
		}
	}
}
