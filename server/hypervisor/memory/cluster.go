// Package memory is the reference driver: a cluster that lives in this process. It is as strict as a real hypervisor (a taken
// id, a running guest, a foreign owner are refused), its operations end at once, after a while or when told, and everything that
// goes wrong on a real one can be made to go wrong here. Features are proved on it first; tests of the task engine run on it.
package memory

import (
	"sync"
	"time"

	"gantry/server/hypervisor"
)

// Config shapes a cluster. The zero value is one node "node1" with storages "local" (images and imports) and "data", bridge
// "vmbr0", no images, no latency, and operations that end at once.
type Config struct {
	Nodes []Node
	// Images are import images that every node has, by file name; the value is the size of the disk inside.
	Images map[string]int64
	// Sources are what FetchImage finds at a URL; any other URL ends with Failed.
	Sources map[string]Source
	// Latency is how long each call takes before it has an effect.
	Latency time.Duration
	// Duration is how long operations of a kind take; nil = none. Guests change when their operation ends.
	Duration func(hypervisor.OperationKind) time.Duration
	// Manual keeps operations running until Finish, Fail or FinishAll is called.
	Manual bool
	// ForbidUnlock makes ClearStaleCreate Unsupported, like a PVE API token.
	ForbidUnlock bool
	// Capabilities replaces what the driver can do; nil = everything but snapshots and templates.
	Capabilities *hypervisor.Capabilities
	// Now is the clock; nil = time.Now.
	Now func() time.Time
}

// Node is a host of the cluster. Empty fields get the defaults of Config.
type Node struct {
	Name        string
	CPUs        int
	MemoryBytes int64
	Storages    []Storage
	Bridges     []string
}

// Storage is a place for volumes. A shared one is the same place on every node that names it.
type Storage struct {
	Name    string
	Content []string // "images", "import"
	Shared  bool
	Total   int64 // bytes; 0 = 1 PiB
}

// Source is a downloadable image.
type Source struct {
	SizeBytes int64  // of the disk inside
	Checksum  string // "sha256:hex" or "sha512:hex"; a fetch with another one fails
}

// Cluster is the hypervisor. Any number of drivers may be opened on it; it outlives them, as a real one outlives Gantry.
type Cluster struct {
	config Config

	mu         sync.Mutex
	nodes      []*node
	guests     map[int]*guest
	images     map[imageKey]int64
	volumes    map[string]volume
	operations map[string]*operation
	order      []*operation
	running    []*operation
	faults     []*armedFault
	calls      []Call
	sequence   int64
	volumeSeq  int64
}

type node struct {
	Node
	offline bool
}

type imageKey struct{ node, file string }

const keptCalls = 200_000

// New makes a cluster.
func New(config Config) *Cluster {
	if len(config.Nodes) == 0 {
		config.Nodes = []Node{{Name: "node1"}}
	}
	c := &Cluster{
		config: config, guests: map[int]*guest{}, images: map[imageKey]int64{},
		volumes: map[string]volume{}, operations: map[string]*operation{},
	}
	for _, each := range config.Nodes {
		each = withDefaults(each)
		c.nodes = append(c.nodes, &node{Node: each})
		for file, size := range config.Images {
			c.images[imageKey{each.Name, file}] = size
		}
	}
	return c
}

func withDefaults(each Node) Node {
	if each.CPUs == 0 {
		each.CPUs = 64
	}
	if each.MemoryBytes == 0 {
		each.MemoryBytes = 1 << 40
	}
	if each.Storages == nil {
		each.Storages = []Storage{{Name: "local", Content: []string{"images", "import"}}, {Name: "data", Content: []string{"images"}}}
	}
	each.Storages = append([]Storage(nil), each.Storages...)
	for i := range each.Storages {
		if each.Storages[i].Total == 0 {
			each.Storages[i].Total = 1 << 50
		}
	}
	if each.Bridges == nil {
		each.Bridges = []string{"vmbr0"}
	}
	return each
}

// Kind makes the cluster a registered kind of driver, named "memory"; every driver opened by it works on this cluster.
func (c *Cluster) Kind() hypervisor.Kind {
	return hypervisor.Kind{Name: "memory", Title: "In memory", Open: func(hypervisor.Settings) (hypervisor.Driver, error) { return c.Open(), nil },
		Endpoint: func(map[string]string) (string, error) { return "memory", nil }}
}

// Open makes a driver on the cluster.
func (c *Cluster) Open() hypervisor.Driver { return &driver{cluster: c} }

func (c *Cluster) now() time.Time {
	if c.config.Now != nil {
		return c.config.Now()
	}
	return time.Now()
}

func (c *Cluster) node(name string) *node {
	for _, each := range c.nodes {
		if each.Name == name {
			return each
		}
	}
	return nil
}

func (n *node) storage(name string) *Storage {
	for i := range n.Storages {
		if n.Storages[i].Name == name {
			return &n.Storages[i]
		}
	}
	return nil
}

func (s *Storage) holds(content string) bool {
	for _, each := range s.Content {
		if each == content {
			return true
		}
	}
	return false
}

// importStorage is the first storage of the node that takes import images.
func (n *node) importStorage() *Storage {
	for i := range n.Storages {
		if n.Storages[i].holds("import") {
			return &n.Storages[i]
		}
	}
	return nil
}
