// Package admin serves the secret admin path: what the panel calls with an admin's token.
package admin

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"gantry/server/account"
	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// Accounts is what logins and keys need; *account.Service has it.
type Accounts interface {
	Login(ctx context.Context, username, password, code string, address netip.Addr) (account.Session, error)
	NewAPIKey(ctx context.Context, info string) (*broker.APIKey, string, error)
	SetAPIKeyDisabled(ctx context.Context, id int64, disabled bool) error
	DeleteAPIKey(ctx context.Context, id int64) error
	Register(ctx context.Context, profile account.Profile, password string) (*broker.Admin, error)
	UpdateAdmin(ctx context.Context, id int64, profile account.Profile, password string) error
	DeleteAdmin(ctx context.Context, id int64) error
	ChangePassword(ctx context.Context, admin int64, old, fresh string, address netip.Addr) (account.Session, error)
	NewSecondFactor(admin *broker.Admin) (account.SecondFactor, error)
	EnableSecondFactor(ctx context.Context, admin int64, secret, code, password string, address netip.Addr) error
	DisableSecondFactor(ctx context.Context, admin int64, password string, address netip.Addr) error
}

// Broker is what nodes, pools and images need; *broker.Broker has it.
type Broker interface {
	AddNode(ctx context.Context, request broker.AddNodeRequest, actor broker.Actor) (*broker.Node, []broker.ClusterProblem, error)
	AddPoolByMask(ctx context.Context, request broker.PoolByMask) (*broker.AddressPool, error)
	AddPoolRange(ctx context.Context, request broker.PoolByRange) (int, error)
	ChangeNode(ctx context.Context, change broker.NodeChange) ([]broker.ClusterProblem, error)
	DeleteNode(ctx context.Context, id int64) error
	InstallDaemon(ctx context.Context, request broker.InstallDaemonRequest, actor broker.Actor) (*broker.Task, error)
	SaveConsoleNode(ctx context.Context, change broker.ConsoleNodeChange) error
	DeleteConsoleNode(ctx context.Context, id int64) error
	ChangePool(ctx context.Context, change broker.PoolChange) (pool *broker.AddressPool, staleGuests int64, err error)
	DeletePool(ctx context.Context, id int64) error
	ChangeAddresses(ctx context.Context, changes []broker.AddressChange) error
	AddArea(ctx context.Context, area *broker.Area) error
	UpdateArea(ctx context.Context, area *broker.Area) error
	DeleteArea(ctx context.Context, id int64) error
	PlaceNode(ctx context.Context, node int64, area *int64) error
	Settings(ctx context.Context) (broker.SystemSettings, error)
	ChangeSettings(ctx context.Context, change broker.SettingsChange) error
	DaemonSecret(ctx context.Context) (string, error)
	PlacementSettings(ctx context.Context) (broker.PlacementSettings, error)
	OverTraffic(ctx context.Context) (broker.TrafficAction, error)
	SetOverTraffic(ctx context.Context, action broker.TrafficAction) error
	Adopt(ctx context.Context, request broker.AdoptRequest, actor broker.Actor) (*broker.VM, error)
	Release(ctx context.Context, id int64) error
	ChangePlacementSettings(ctx context.Context, change broker.PlacementSettingsChange) error
	AddImage(ctx context.Context, image *broker.Image) error
	ChangeImage(ctx context.Context, change broker.ImageChange) error
	DeleteImage(ctx context.Context, id int64, actor broker.Actor) error
	DownloadImage(ctx context.Context, image, node int64, actor broker.Actor) (*broker.Task, error)
}

// Calls is the surface with what it needs.
type Calls struct {
	Machines *ams.Machines
	Broker   Broker
	Models   Models
	Store    broker.Store
	Accounts Accounts
	Queue    broker.Queue
	// Nodes answers about nodes live.
	Nodes LiveNodes
	// Catalogue lists images that can be taken over.
	Catalogue Catalogue
	// Drivers lists the drivers with their options.
	Drivers func() []hypervisor.Kind
	// Events tells what changes.
	Events Events
	// Now is the clock.
	Now func() time.Time

	overviews overviewCache
}

var (
	get      = []string{http.MethodGet}
	post     = []string{http.MethodPost}
	putPost  = []string{http.MethodPut, http.MethodPost}
	erase    = []string{http.MethodDelete, http.MethodPost}
	eraseAny = []string{http.MethodDelete, http.MethodPut, http.MethodPost}
)

// Routes lists the calls.
func (c *Calls) Routes() []route.Route {
	var all []route.Route
	for _, group := range [][]route.Route{
		c.accountRoutes(), c.areaRoutes(), c.settingRoutes(), c.imageChangeRoutes(), c.consoleNodeRoutes(), c.nodeChangeRoutes(), c.installRoutes(), c.addressRoutes(),
		c.loginRoutes(), c.keyRoutes(), c.nodeRoutes(), c.poolRoutes(), c.imageRoutes(), c.machineRoutes(), c.machineListRoutes(), c.taskRoutes(),
		c.adoptionRoutes(), c.sessionRoutes(), c.overviewRoutes(), c.auditRoutes(), c.nodeResourceRoutes(), c.modelPreviewRoutes(), c.eventRoutes(),
	} {
		all = append(all, group...)
	}
	return all
}
