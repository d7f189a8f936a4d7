// Package fleet keeps the drivers of all clusters open and the store's picture of them fresh: one inventory call a cluster and
// interval, never one a guest. It implements broker.Fleet, the task engine's operation source and the console's target source.
package fleet

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// callTimeout bounds every live call that an API request waits for.
const callTimeout = 10 * time.Second

// driverLifetime is how long an opened driver is used before the cluster's row is read again, so that a credential changed by
// another replica is noticed.
const driverLifetime = 30 * time.Second

// Config is what a Fleet is made of.
type Config struct {
	Store    broker.Store
	Registry hypervisor.Registry
	// PollInterval is the time between two inventories of a cluster (default 10 s); DiscoverInterval between two discoveries of
	// storages and bridges (default 5 min).
	PollInterval, DiscoverInterval time.Duration
	Now                            func() time.Time
	Log                            *slog.Logger
}

// Fleet is safe for concurrent use.
type Fleet struct {
	store            broker.Store
	registry         hypervisor.Registry
	pollInterval     time.Duration
	discoverInterval time.Duration
	now              func() time.Time
	log              *slog.Logger

	mutex   sync.Mutex
	drivers map[int64]*openDriver
	daemons map[int64]*openDaemon
	sampler *sampler
	// consolidated is up to when each series was made, by its place in broker.HistorySeries. StoreHistory alone uses it.
	consolidated map[int]time.Time
	// unmanaged is what storeUnmanaged wrote last, by cluster.
	unmanaged map[int64][]broker.UnmanagedGuest
	// changed tells the poller that clusters were added or forgotten.
	changed chan struct{}
}

type openDriver struct {
	driver  hypervisor.Driver
	cluster broker.Cluster
	checked time.Time
}

// New makes a Fleet that polls nothing until Run.
func New(config Config) *Fleet {
	fleet := &Fleet{
		store: config.Store, registry: config.Registry, pollInterval: config.PollInterval, discoverInterval: config.DiscoverInterval,
		now: config.Now, log: config.Log,
		drivers: map[int64]*openDriver{}, daemons: map[int64]*openDaemon{}, unmanaged: map[int64][]broker.UnmanagedGuest{},
		sampler: newSampler(), consolidated: map[int]time.Time{}, changed: make(chan struct{}, 1),
	}
	if fleet.pollInterval <= 0 {
		fleet.pollInterval = 10 * time.Second
	}
	if fleet.discoverInterval <= 0 {
		fleet.discoverInterval = 5 * time.Minute
	}
	if fleet.now == nil {
		fleet.now = time.Now
	}
	return fleet
}

// Driver gives the open driver of a cluster.
func (f *Fleet) Driver(ctx context.Context, cluster int64) (hypervisor.Driver, error) {
	f.mutex.Lock()
	known := f.drivers[cluster]
	f.mutex.Unlock()
	if known != nil && f.now().Sub(known.checked) < driverLifetime {
		return known.driver, nil
	}
	row, err := f.store.FindCluster(ctx, cluster)
	if err != nil {
		return nil, err
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if known = f.drivers[cluster]; known != nil && sameAccess(known.cluster, *row) {
		known.checked = f.now()
		return known.driver, nil
	}
	driver, err := f.open(row)
	if err != nil {
		return nil, err
	}
	if known != nil {
		f.closeLater(known.driver)
	}
	f.drivers[cluster] = &openDriver{driver: driver, cluster: *row, checked: f.now()}
	return driver, nil
}

func (f *Fleet) open(cluster *broker.Cluster) (hypervisor.Driver, error) {
	return f.registry.Open(cluster.Kind, hypervisor.Settings{Options: cluster.Options, TLSPin: cluster.TLSPin, Now: f.now})
}

func sameAccess(a, b broker.Cluster) bool {
	if a.Kind != b.Kind || a.TLSPin != b.TLSPin || len(a.Options) != len(b.Options) {
		return false
	}
	for name, value := range a.Options {
		if b.Options[name] != value {
			return false
		}
	}
	return true
}

// closeLater closes a replaced driver once calls that began on it must be over.
func (f *Fleet) closeLater(driver hypervisor.Driver) {
	time.AfterFunc(2*time.Minute, func() {
		if err := driver.Close(); err != nil {
			f.log.Warn("close replaced driver", "error", err)
		}
	})
}

// Forget drops what is cached of a cluster, and of daemons, and makes the poller look at the list of clusters again.
func (f *Fleet) Forget(cluster int64) {
	f.mutex.Lock()
	if known := f.drivers[cluster]; known != nil {
		known.checked = time.Time{}
	}
	clear(f.daemons)
	f.mutex.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// Close closes all drivers.
func (f *Fleet) Close() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for id, known := range f.drivers {
		if err := known.driver.Close(); err != nil {
			f.log.Warn("close driver", "cluster", id, "error", err)
		}
	}
	clear(f.drivers)
}

// Kinds lists driver names.
func (f *Fleet) Kinds() []string {
	var names []string
	for _, kind := range f.registry.Kinds() {
		names = append(names, kind.Name)
	}
	return names
}

// Drivers lists the drivers with their options.
func (f *Fleet) Drivers() []hypervisor.Kind { return f.registry.Kinds() }

// Endpoint names where a driver's options lead.
func (f *Fleet) Endpoint(kind string, options map[string]string) (string, error) {
	return f.registry.Endpoint(kind, options)
}

// Inspect opens the cluster's driver, probes and discovers. The pin seen at a first contact is used for the discovery.
func (f *Fleet) Inspect(ctx context.Context, cluster *broker.Cluster) (*broker.ClusterReport, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	driver, err := f.open(cluster)
	if err != nil {
		return nil, err
	}
	probe, err := driver.Probe(ctx)
	f.closeNow(driver)
	if err != nil {
		return nil, err
	}
	report := &broker.ClusterReport{Version: probe.Version, TLSPin: probe.TLSPin, ThisNode: probe.ThisNode}
	for _, problem := range probe.Problems {
		report.Problems = append(report.Problems, broker.ClusterProblem{Reason: problem.Reason, Text: problem.Text, Fatal: problem.Fatal})
		if problem.Fatal {
			return report, nil
		}
	}
	pinned := *cluster
	pinned.TLSPin = probe.TLSPin
	if driver, err = f.open(&pinned); err != nil {
		return nil, err
	}
	defer f.closeNow(driver)
	discovery, err := driver.Discover(ctx)
	if err != nil {
		return nil, err
	}
	report.Nodes = f.discovered(discovery)
	return report, nil
}

func (f *Fleet) closeNow(driver hypervisor.Driver) {
	if err := driver.Close(); err != nil {
		f.log.Warn("close driver", "error", err)
	}
}

func (f *Fleet) discovered(discovery hypervisor.Discovery) []broker.ClusterNode {
	now := f.now().UTC()
	nodes := make([]broker.ClusterNode, 0, len(discovery.Nodes))
	for _, detail := range discovery.Nodes {
		found := broker.ClusterNode{Node: broker.Node{
			Name: detail.Name, Status: broker.NodeOnline, CPUs: detail.CPUs, MemoryBytes: detail.MemoryBytes, SeenAt: &now, CreatedAt: now,
		}}
		if !detail.Online {
			found.Node.Status = broker.NodeOffline
		}
		for _, storage := range detail.Storages {
			found.Storages = append(found.Storages, broker.Storage{
				Name: storage.Name, Type: storage.Type, Content: storage.Content, Shared: storage.Shared, Enabled: storage.Enabled,
				Active: storage.Active, Total: storage.Total, Available: storage.Available, SeenAt: &now,
			})
		}
		for _, bridge := range detail.Bridges {
			found.Bridges = append(found.Bridges, broker.Bridge{Name: bridge.Name, CIDR: bridge.CIDR, Active: bridge.Active})
		}
		nodes = append(nodes, found)
	}
	return nodes
}

// Supports tells whether a cluster's hypervisor has a capability; false when the cluster can't be opened.
func (f *Fleet) Supports(ctx context.Context, cluster int64, capability broker.Capability) bool {
	driver, err := f.Driver(ctx, cluster)
	return err == nil && driver.Info().Capabilities.Has(capability)
}
