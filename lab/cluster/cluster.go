// Package cluster is the simulated Proxmox VE cluster: nodes, guests, storages and pools, and what can be done to them. It knows
// nothing of HTTP; package api does.
package cluster

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"gantry/lab/access"
	"gantry/lab/apierror"
	"gantry/lab/fault"
	"gantry/lab/machine"
	"gantry/lab/storage"
	"gantry/lab/worker"
)

// Bridge is a network bridge of every node.
type Bridge struct {
	Name      string
	CIDR      string // the node's address on it, may be empty
	Ports     string // physical interfaces, may be empty
	VLANAware bool
}

// Options say what the cluster is made of.
type Options struct {
	Major          int // 8 or 9
	Nodes          []string
	DataDir        string // exists
	Storages       []storage.Definition
	Bridges        []Bridge
	Backend        machine.Backend
	Now            func() time.Time
	TimeScale      float64       // factor on all wall-clock waits
	StatusInterval time.Duration // how often pvestatd runs; not scaled
	NodeCPUs       int
	NodeMemory     int64 // bytes
	KVM            bool  // whether nodes offer KVM to guests
	NoHVM          bool  // whether nodes lack hardware virtualisation
	CleanupLock    bool  // whether PVE 9's `qm cleanup` locks the configuration of a guest that was started before it came
	Logger         *slog.Logger
}

// Cluster is safe for concurrent use.
type Cluster struct {
	Options
	Access *access.Control
	Tasks  *worker.Pool
	Faults *fault.Faults
	booted time.Time

	mu       sync.RWMutex
	guests   map[int]*Guest
	saved    saved
	flocks   map[int]chan struct{}
	reserved map[string]bool // volume ids that are being made

	status  statusCache
	saving  sync.Mutex
	closing chan struct{}
	loops   sync.WaitGroup
}

// saved is the part of the state that changes seldom; guests have files of their own.
type saved struct {
	Access   json.RawMessage              `json:"access,omitempty"`
	Storages []storage.Definition         `json:"storages"`
	Pools    map[string]*Pool             `json:"pools,omitempty"`
	Firewall map[string]*Firewall         `json:"firewall,omitempty"` // "cluster" or VMID
	HA       map[string]map[string]string `json:"ha,omitempty"`
	Options  map[string]string            `json:"options,omitempty"`
	Secrets  map[string]string            `json:"secrets,omitempty"` // lab's own: certificate, tokens
}

// Open reads the state in DataDir, or starts a new cluster there, attaches to guests that still run and boots the nodes whose guests were
// stopped with the lab.
func Open(options Options) (*Cluster, error) {
	c := &Cluster{Options: options, booted: options.Now(), guests: map[int]*Guest{}, flocks: map[int]chan struct{}{},
		reserved: map[string]bool{}, closing: make(chan struct{})}
	if err := c.readState(); err != nil {
		return nil, err
	}
	control, err := access.Open(options.Major, c.saved.Access, options.Now, c.poolOfPath, c.saveState)
	if err != nil {
		return nil, err
	}
	c.Access = control
	c.Faults = fault.New(control.ExpireTickets, c.RefreshStatus)
	c.Tasks, err = worker.Open(filepath.Join(options.DataDir, "tasks.journal"), options.Now, worker.Hooks{
		Step: c.taskStep, Warnings: func(task *worker.Task) []string {
			return c.Faults.Warnings(task.UPID.Node, task.UPID.Type, task.UPID.ID)
		}})
	if err != nil {
		return nil, err
	}
	halted := map[string][]*Guest{}
	for _, node := range options.Nodes {
		if err := c.makeFolders(node); err != nil {
			return nil, err
		}
		if halted[node], err = c.loadGuests(node); err != nil {
			return nil, err
		}
	}
	c.RefreshStatus()
	c.loops.Add(1)
	go c.statusLoop()
	for node, guests := range halted {
		if len(guests) > 0 {
			c.startAll(node, guests)
		}
	}
	return c, nil
}

func (c *Cluster) makeFolders(node string) error {
	folders := []string{c.confFolder(node), filepath.Join(c.DataDir, "nodes", node, "run"), filepath.Join(c.DataDir, "tmp")}
	for i := range c.saved.Storages {
		folders = append(folders, c.storageFolders(&c.saved.Storages[i], node)...)
	}
	for _, folder := range folders {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("make the lab's folder: %w", err)
		}
	}
	return nil
}

func (c *Cluster) storageFolders(definition *storage.Definition, node string) []string {
	if !definition.OnNode(node) {
		return nil
	}
	folders := []string{definition.Folder(c.DataDir, node, "images")}
	for _, content := range []string{"iso", "vztmpl", "import", "snippets", "backup"} {
		if definition.Has(content) && definition.FileBased() {
			folders = append(folders, definition.Folder(c.DataDir, node, content))
		}
	}
	return folders
}

// Close stops the lab's daemons. Guests keep running as far as the backend keeps them.
func (c *Cluster) Close() error {
	close(c.closing)
	c.loops.Wait()
	return c.Tasks.Close()
}

func (c *Cluster) stateFile() string { return filepath.Join(c.DataDir, "cluster.json") }

func (c *Cluster) readState() error {
	text, err := os.ReadFile(c.stateFile())
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("read the lab's state: %w", err)
	}
	if err == nil {
		if err := json.Unmarshal(text, &c.saved); err != nil {
			return fmt.Errorf("parse %s: %w", c.stateFile(), err)
		}
	} else {
		c.saved.Storages = slices.Clone(c.Options.Storages)
	}
	for _, table := range []func(){
		func() { c.saved.Pools = orNew(c.saved.Pools) }, func() { c.saved.Firewall = orNew(c.saved.Firewall) },
		func() { c.saved.HA = orNew(c.saved.HA) }, func() { c.saved.Options = orNew(c.saved.Options) },
		func() { c.saved.Secrets = orNew(c.saved.Secrets) },
	} {
		table()
	}
	return nil
}

func orNew[K comparable, V any](table map[K]V) map[K]V {
	if table == nil {
		return map[K]V{}
	}
	return table
}

// saveState writes cluster.json. A failure is logged: the running lab is still right, only a restart would lose the change.
func (c *Cluster) saveState() {
	c.saving.Lock()
	defer c.saving.Unlock()
	users, err := c.Access.Marshal()
	if err == nil {
		c.mu.Lock()
		c.saved.Access = users
		var text []byte
		text, err = json.MarshalIndent(c.saved, "", " ")
		c.mu.Unlock()
		if err == nil {
			err = replaceFile(c.stateFile(), text)
		}
	}
	if err != nil {
		c.Logger.Error("save the lab's state", "error", err)
	}
}

// replaceFile writes a file so that a killed lab leaves the old or the new text, never half of it.
func replaceFile(name string, text []byte) error {
	if err := os.WriteFile(name+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// Secret returns a value that the lab keeps over restarts, making it on first use.
func (c *Cluster) Secret(name string, make func() (string, error)) (string, error) {
	c.mu.Lock()
	value, known := c.saved.Secrets[name]
	c.mu.Unlock()
	if known {
		return value, nil
	}
	value, err := make()
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	c.saved.Secrets[name] = value
	c.mu.Unlock()
	c.saveState()
	return value, nil
}

// Scaled is a wall-clock wait of the real node, shortened or lengthened as configured.
func (c *Cluster) Scaled(real time.Duration) time.Duration {
	return time.Duration(float64(real) * c.TimeScale)
}

// HasNode tells whether the node is part of the cluster.
func (c *Cluster) HasNode(node string) bool { return slices.Contains(c.Nodes, node) }

// Uptime of the nodes in seconds.
func (c *Cluster) Uptime() int64 { return int64(c.Now().Sub(c.booted).Seconds()) + 3600 }

// Storage finds a storage's definition.
func (c *Cluster) Storage(id string) (*storage.Definition, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for i := range c.saved.Storages {
		if c.saved.Storages[i].ID == id {
			copied := c.saved.Storages[i]
			return &copied, nil
		}
	}
	return nil, apierror.Die("storage '%s' does not exist", id)
}

// StorageOnNode finds a storage that can be used on the node.
func (c *Cluster) StorageOnNode(id, node string) (*storage.Definition, error) {
	definition, err := c.Storage(id)
	if err != nil {
		return nil, err
	}
	if definition.Disabled {
		return nil, apierror.Die("storage '%s' is disabled", id)
	}
	if !definition.OnNode(node) {
		return nil, apierror.Die("storage '%s' is not available on node '%s'", id, node)
	}
	return definition, nil
}

// StorageList returns all definitions.
func (c *Cluster) StorageList() []storage.Definition {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Clone(c.saved.Storages)
}

// EditStorages changes the list of storages and makes the folders of new ones.
func (c *Cluster) EditStorages(edit func(list []storage.Definition) ([]storage.Definition, error)) error {
	c.mu.Lock()
	list, err := edit(slices.Clone(c.saved.Storages))
	if err == nil {
		c.saved.Storages = list
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	for _, node := range c.Nodes {
		if err := c.makeFolders(node); err != nil {
			return err
		}
	}
	c.saveState()
	return nil
}

// Bridge finds a bridge by name.
func (c *Cluster) Bridge(name string) *Bridge {
	for i := range c.Bridges {
		if c.Bridges[i].Name == name {
			return &c.Bridges[i]
		}
	}
	return nil
}
