// Package server is the broker program: it opens what the broker is made of, starts it, serves, and stops in reverse order.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"gantry/internal/secrets"
	"gantry/internal/tlspin"
	"gantry/internal/version"
	"gantry/server/account"
	"gantry/server/api"
	"gantry/server/broker"
	"gantry/server/catalogue"
	"gantry/server/console"
	"gantry/server/events"
	"gantry/server/fleet"
	"gantry/server/hypervisor"
	"gantry/server/hypervisor/libvirt"
	"gantry/server/hypervisor/pve"
	"gantry/server/store"
	"gantry/server/task"
)

const (
	// stopPatience is how long requests and steps under way get to end.
	stopPatience = 20 * time.Second
	// cleanInterval is how often ended console links are removed.
	cleanInterval = time.Hour
)

// running is everything that a running server consists of, in the order in which it is opened.
type running struct {
	config   Config
	log      *slog.Logger
	registry *prometheus.Registry
	store    *store.Store
	fleet    *fleet.Fleet
	engine   *task.Engine
	accounts *account.Service
	console  *console.Service
	events   *events.Hub
	broker   *broker.Broker
	api      *api.API
	// lock is held on DataDir.
	lock *os.File
}

// Run serves until ctx ends. It returns nil after an orderly stop.
func Run(ctx context.Context, config Config) error {
	server, err := open(ctx, config)
	if err != nil {
		return err
	}
	return server.serve(ctx)
}

// Registry lists the drivers that this program has.
func Registry() hypervisor.Registry { return hypervisor.NewRegistry(pve.Kind(), libvirt.Kind()) }

func open(ctx context.Context, config Config) (server *running, err error) {
	server = &running{config: config, log: config.Logger, registry: prometheus.NewRegistry()}
	if server.log == nil {
		server.log = slog.Default()
	}
	server.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := os.MkdirAll(config.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make data_dir: %w", err)
	}
	if server.lock, err = lockDataDir(config.DataDir); err != nil {
		return nil, err
	}
	defer func() {
		if err == nil {
			return
		}
		if server.store != nil {
			err = errors.Join(err, server.store.Close())
		}
		err = errors.Join(err, server.lock.Close())
	}()
	for _, part := range []func(context.Context) error{
		server.openStore, server.openTasks, server.openAccounts, server.openConsole, server.openAPI,
	} {
		if err := part(ctx); err != nil {
			return nil, err
		}
	}
	return server, nil
}

func (s *running) openStore(ctx context.Context) error {
	keyring, err := secrets.Open(s.config.KeyFile(), s.config.SecretKey)
	if err != nil {
		return err
	}
	if s.store, err = store.Open(ctx, store.Config{DSN: s.config.DSN(), Secrets: keyring}); err != nil {
		return err
	}
	return s.registry.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "gantry_sql_statements_total", Help: "SQL statements sent, those that begin and end transactions among them.",
	}, func() float64 { return float64(s.store.Statements()) }))
}

// openTasks opens fleet and engine.
func (s *running) openTasks(context.Context) error {
	s.fleet = fleet.New(fleet.Config{
		Store: s.store, Registry: Registry(), PollInterval: s.config.Fleet.PollInterval,
		DiscoverInterval: s.config.Fleet.DiscoverInterval, Log: s.log.With("part", "fleet"),
	})
	owner, err := instanceName(s.config.DataDir)
	if err != nil {
		return err
	}
	workflows := task.NewWorkflows(s.store, s.fleet, s.config.Rules(), time.Now)
	s.engine, err = task.New(task.Config{
		Store: s.store, Workflows: workflows.All(), Operations: s.fleet, Owner: owner, Workers: s.config.Tasks.Workers,
		Limits: broker.TaskLimits{
			PerNode: s.config.Tasks.PerNode, PerStorage: s.config.Tasks.PerSharedStorage, PerTemplate: s.config.Tasks.PerTemplate,
		},
		Shared: s.config.Database.DSN != "", Log: s.log.With("part", "tasks"), Boundary: s.config.Boundary,
		PauseScale: s.config.PauseScale,
	})
	return err
}

func (s *running) openAccounts(ctx context.Context) (err error) {
	s.accounts, err = account.New(ctx, account.Config{
		Store: s.store, TokenLifetime: s.config.Admin.TokenLifetime, Log: s.log.With("part", "accounts"),
	})
	return err
}

func (s *running) openConsole(ctx context.Context) error {
	s.console = console.New(console.Config{
		FirstUse: s.config.Console.TokenLifetime, MaxSession: s.config.Console.SessionLifetime,
	}, s.store.ConsoleTokens(), s.fleet, time.Now)
	return s.registerProxy(ctx)
}

func (s *running) openAPI(ctx context.Context) error {
	adminPath, err := account.AdminPath(ctx, s.store, s.config.AdminPath)
	if err != nil {
		return err
	}
	if err := s.firstLogin(ctx, adminPath); err != nil {
		return err
	}
	images, err := catalogue.New(s.config.Images.CatalogueURL, time.Now, s.log.With("part", "catalogue"))
	if err != nil {
		return err
	}
	s.events = events.New(events.Config{Store: s.store, Log: s.log.With("part", "events")})
	s.broker = broker.New(s.store, s.fleet, s.engine, s.config.Rules(), time.Now, s.log.With("part", "broker"))
	build := version.Current()
	s.api, err = api.New(api.Config{
		Broker: s.broker,
		Store:  s.store, Accounts: s.accounts, Console: s.console, Fleet: s.fleet, Queue: s.engine, Events: s.events, Catalogue: images, AdminPath: adminPath, Panel: s.panel(adminPath),
		Language: broker.Language(s.config.Language), TrustedProxies: s.config.TrustedProxies,
		Version: build.Version, Build: build.Commit, Registry: s.registry,
		HideMetrics: !s.config.Metrics.Enabled || s.config.Metrics.Listen != "", Log: s.log.With("part", "api"),
	})
	return err
}

// serve listens first, so that a port that is taken stops the start before any task is touched.
func (s *running) serve(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, s.store.Close(), s.lock.Close()) }()
	listener, err := s.listen(ctx, s.config.Listen)
	if err != nil {
		return err
	}
	if err := s.engine.Start(ctx); err != nil {
		return errors.Join(err, listener.Close())
	}
	background, stopBackground := context.WithCancel(context.Background())
	defer stopBackground()
	polling := make(chan struct{})
	go func() {
		defer close(polling)
		s.fleet.Run(background)
	}()
	go s.cleanConsoleLinks(background)
	go s.sweep(background)
	go s.reencrypt(background)
	failed := make(chan error, 2)
	servers := []*http.Server{s.start(s.api, listener, failed)}
	if s.config.Metrics.Enabled && s.config.Metrics.Listen != "" {
		metrics, err := net.Listen("tcp", s.config.Metrics.Listen)
		if err != nil {
			failed <- fmt.Errorf("listen for metrics: %w", err)
		} else {
			servers = append(servers, s.start(s.api.Metrics(), metrics, failed))
		}
	}
	s.log.Info("server ready", "address", listener.Addr().String(), "version", version.Current().Version)
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	return errors.Join(err, s.stop(servers, stopBackground, polling))
}

// stop ends in reverse order: no more requests, no more polls, no more steps, then drivers and database.
func (s *running) stop(servers []*http.Server, stopBackground context.CancelFunc, polling <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	var problems []error
	s.events.Close() // its listeners would keep their connections open
	for _, server := range servers {
		problems = append(problems, server.Shutdown(ctx))
	}
	problems = append(problems, s.api.Close(ctx))
	stopBackground()
	select {
	case <-polling:
	case <-ctx.Done():
		problems = append(problems, errors.New("stop fleet: a poll does not return"))
	}
	problems = append(problems, s.engine.Stop(ctx))
	s.fleet.Close()
	return errors.Join(problems...)
}

func (s *running) start(handler http.Handler, listener net.Listener, failed chan<- error) *http.Server {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("serve: %w", err)
		}
	}()
	return server
}

func (s *running) listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	var certificate tls.Certificate
	switch {
	case s.config.TLSCertificate != "":
		certificate, err = tls.LoadX509KeyPair(s.config.TLSCertificate, s.config.TLSKey)
	case s.config.TLSSelfSigned:
		certificate, _, err = tlspin.Certificate(s.config.DataDir)
	default:
		return listener, nil
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("load the certificate: %w", err), listener.Close())
	}
	return tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}), nil
}

func (s *running) cleanConsoleLinks(ctx context.Context) {
	ticker := time.NewTicker(cleanInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for {
			removed, err := s.console.DeleteExpired(ctx)
			if err != nil {
				s.log.Warn("remove ended console links", "error", err)
			}
			if err != nil || removed == 0 {
				break
			}
		}
	}
}
