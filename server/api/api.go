// Package api is Gantry's HTTP surface. What it serves is described by the route tables of its subpackages; this package turns
// them into a handler: routing, credentials, decoding, envelope, audit, metrics and the OpenAPI document.
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"gantry/internal/consoleapi"
	"gantry/server/account"
	"gantry/server/api/admin"
	"gantry/server/api/ams"
	"gantry/server/api/billing"
	"gantry/server/api/public"
	"gantry/server/api/route"
	"gantry/server/broker"
	"gantry/server/catalogue"
	"gantry/server/events"
	"gantry/server/hypervisor"
)

// Console is what the API needs of console links; *console.Service has it.
type Console interface {
	ams.Links
	consoleapi.Broker
}

// Fleet is the part of broker.Fleet that the API needs.
type Fleet interface {
	ams.Live
	admin.LiveNodes
	Kinds() []string
	Drivers() []hypervisor.Kind
}

// Broker is what the API needs of the domain; *broker.Broker has it.
type Broker interface {
	ams.Orders
	admin.Broker
	admin.Models
}

// Panel is the operator's web panel; *panel.Panel is one. It sees only requests that are in no route, and says which are its own.
type Panel interface {
	http.Handler
	Serves(r *http.Request) bool
}

// Config sets an API up. Broker, Store, Accounts, Console, Fleet, Queue and AdminPath are required.
type Config struct {
	Broker   Broker
	Store    broker.Store
	Accounts *account.Service
	Console  Console
	Fleet    Fleet
	Queue    broker.Queue
	// Events tells what changes; nil = a hub on Store, which ends with the last listener.
	Events admin.Events
	// Catalogue lists images that can be taken over; nil = the shipped ones.
	Catalogue admin.Catalogue
	// AdminPath is the secret first segment of the admin's URLs, see account.AdminPath.
	AdminPath string
	// Panel is served under the admin path; nil = none.
	Panel Panel
	// Language of messages for callers that ask for none; "" = English.
	Language broker.Language
	// TrustedProxies are the networks whose X-Forwarded-For is believed; none by default.
	TrustedProxies []string
	// Version and Build are those of the program.
	Version, Build string
	// Registry collects the metrics of the whole program; nil = one of the API's own.
	Registry *prometheus.Registry
	// HideMetrics leaves /metrics out here; see API.Metrics.
	HideMetrics bool
	// Ready tells, beside the store, whether the program can serve; nil = no more to ask.
	Ready func(ctx context.Context) error
	// Timeout bounds a call, reading its body included; 0 = DefaultTimeout.
	Timeout time.Duration
	// Now is the clock; nil = time.Now.
	Now func() time.Time
	Log *slog.Logger
}

// DefaultTimeout is how long a call may take.
const DefaultTimeout = 10 * time.Second

// API is the handler. Close it after its listener was shut down.
type API struct {
	engine    *gin.Engine
	panel     Panel
	routes    []route.Route
	adminPath string
	accounts  *account.Service
	store     broker.Store
	kinds     func() []string
	language  languages
	metrics   *metrics
	audit     *auditor
	ready     func(ctx context.Context) error
	timeout   time.Duration
	now       func() time.Time
	log       *slog.Logger
}

// New makes the handler.
func New(config Config) (*API, error) {
	if err := config.complete(); err != nil {
		return nil, err
	}
	measured, err := newMetrics(config.Registry)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	a := &API{
		panel: config.Panel, accounts: config.Accounts, store: config.Store, kinds: config.Fleet.Kinds, language: newLanguages(config.Language),
		metrics: measured, ready: config.Ready, now: config.Now, log: config.Log, routes: table(config), adminPath: config.AdminPath, timeout: config.Timeout,
	}
	if err := checkTable(a.routes); err != nil {
		return nil, err
	}
	if a.engine, err = a.router(config); err != nil {
		return nil, err
	}
	a.audit = newAuditor(config.Store, config.Log)
	return a, nil
}

func (c *Config) complete() error {
	for name, absent := range map[string]bool{
		"Broker": c.Broker == nil, "Store": c.Store == nil, "Accounts": c.Accounts == nil, "Console": c.Console == nil,
		"Fleet": c.Fleet == nil, "Queue": c.Queue == nil,
	} {
		if absent {
			return errors.New("api: " + name + " is missing")
		}
	}
	if err := account.CheckAdminPath(c.AdminPath); err != nil {
		return fmt.Errorf("api: %w", err)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Catalogue == nil {
		shipped, err := catalogue.New("", c.Now, c.Log)
		if err != nil {
			return fmt.Errorf("api: %w", err)
		}
		c.Catalogue = shipped
	}
	if c.Events == nil {
		c.Events = events.New(events.Config{Store: c.Store, Now: c.Now, Log: c.Log})
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
	return nil
}

// table puts the surfaces together.
func table(config Config) []route.Route {
	machines := &ams.Machines{Orders: config.Broker, Store: config.Store, Live: config.Fleet, Links: config.Console}
	forAdmins := admin.Calls{
		Machines: machines, Broker: config.Broker, Models: config.Broker, Store: config.Store, Accounts: config.Accounts, Queue: config.Queue,
		Catalogue: config.Catalogue, Nodes: config.Fleet, Events: config.Events, Drivers: config.Fleet.Drivers, Now: config.Now,
	}
	forBilling := billing.Calls{Machines: machines, Store: config.Store}
	forAll := public.Calls{Version: config.Version, Build: config.Build}
	routes := forAdmins.Routes()
	routes = append(routes, forBilling.Routes()...)
	return append(routes, forAll.Routes()...)
}

// checkTable refuses a table with mistakes or doubles.
func checkTable(routes []route.Route) error {
	names, places := map[string]bool{}, map[string]bool{}
	for _, each := range routes {
		if err := each.Check(); err != nil {
			return err
		}
		if names[each.Name] {
			return fmt.Errorf("route %s: name is used twice", each.Name)
		}
		names[each.Name] = true
		for _, method := range each.Methods {
			if place := method + " " + each.Path; places[place] {
				return fmt.Errorf("route %s: %s is served twice", each.Name, place)
			} else {
				places[place] = true
			}
		}
	}
	return nil
}

// Routes is the table: for documentation and tests.
func (a *API) Routes() []route.Route { return a.routes }

// ServeHTTP serves everything.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.engine.ServeHTTP(w, r) }

// Metrics serves /metrics on another listener.
func (a *API) Metrics() http.Handler { return a.metrics.handler() }

// Close writes what the audit log still holds. Calls that come later are logged instead of stored.
func (a *API) Close(ctx context.Context) error { return a.audit.close(ctx) }

// addressOf reads the client's address.
func addressOf(c *gin.Context) netip.Addr {
	address, err := netip.ParseAddr(c.ClientIP())
	if err != nil {
		return netip.Addr{}
	}
	return address.Unmap()
}
