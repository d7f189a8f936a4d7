package broker

import (
	"context"
	"time"
)

// Store keeps everything. Methods return NotFound, Exists (unique constraint) or Internal errors.
// Calls outside Transact are transactions of their own.
type Store interface {
	Tx
	// Transact runs work in one serialisable-enough transaction: on SQLite BEGIN IMMEDIATE, on MySQL/MariaDB READ COMMITTED
	// with row locks. Deadlocks and busy errors are retried a bounded number of times, so work must have no effect outside
	// the database. An error of work rolls back and is returned as it is.
	Transact(ctx context.Context, work func(tx Tx) error) error
	Close() error
}

// Page is a slice of a list: Number from 1, Size ≥ 1.
type Page struct{ Number, Size int }

// Tx is what can be done inside a transaction.
type Tx interface {
	ClusterStore
	PlacementStore
	HistoryStore
	AdoptionStore
	AreaStore
	ImageStore
	AddressStore
	VMStore
	ModelStore
	TaskStore
	AccountStore
	ConsoleStore
	SettingStore
	OverviewStore
}

// ClusterStore keeps clusters, nodes, storages and bridges.
type ClusterStore interface {
	InsertCluster(ctx context.Context, cluster *Cluster) error // sets ID; Exists for the same kind and endpoint (Options["host"], ["port"])
	UpdateCluster(ctx context.Context, cluster *Cluster) error
	DeleteCluster(ctx context.Context, id int64) error
	FindCluster(ctx context.Context, id int64) (*Cluster, error)
	FindClusterByEndpoint(ctx context.Context, kind, endpoint string) (*Cluster, error)
	ListClusters(ctx context.Context) ([]Cluster, error)

	// UpsertNode inserts or updates by (cluster, name) what was observed; operator's fields of an existing row stay.
	UpsertNode(ctx context.Context, node *Node) error
	UpdateNode(ctx context.Context, node *Node) error
	DeleteNode(ctx context.Context, id int64) error
	FindNode(ctx context.Context, id int64) (*Node, error)
	FindNodeByName(ctx context.Context, cluster int64, name string) (*Node, error)
	ListNodes(ctx context.Context, page Page) ([]Node, int64, error)
	ListClusterNodes(ctx context.Context, cluster int64) ([]Node, error)
	// ListKindNodes lists the nodes of all clusters of a driver.
	ListKindNodes(ctx context.Context, kind string, page Page) ([]Node, int64, error)
	// SetNodeRemoved notes a node of a cluster that discovery shall pass over, or forgets that.
	SetNodeRemoved(ctx context.Context, cluster int64, name string, removed bool) error
	RemovedNodes(ctx context.Context, cluster int64) ([]string, error)

	// ReplaceStorages and ReplaceBridges make the node's rows equal to what was discovered.
	ReplaceStorages(ctx context.Context, cluster, node int64, storages []Storage) error
	ListStorages(ctx context.Context, node int64) ([]Storage, error)
	ReplaceBridges(ctx context.Context, node int64, bridges []Bridge) error
	ListBridges(ctx context.Context, node int64) ([]Bridge, error)

	// ReserveVMID takes an id of the cluster's range that is neither reserved, quarantined nor in use by a known guest.
	// Ids are given out in rising order, wrapping at the end. Exhausted with ReasonNoVMID when none is left.
	ReserveVMID(ctx context.Context, cluster int64, vm int64, now time.Time) (int, error)
	// BurnVMID burns an id that turned out to be foreign: it stays blocked until now+quarantine.
	BurnVMID(ctx context.Context, cluster int64, vmid int, until time.Time) error
	// ReleaseVMID puts the id of a VM into quarantine.
	ReleaseVMID(ctx context.Context, cluster int64, vmid int, until time.Time) error
	// ReplaceGuests stores the ids that the hypervisor itself has, so that ReserveVMID avoids them.
	ReplaceGuests(ctx context.Context, cluster int64, vmids []int) error
}

// AreaStore keeps the tree of regions.
type AreaStore interface {
	InsertArea(ctx context.Context, area *Area) error // sets ID; Exists with ReasonAreaTaken for a name that its parent has already
	UpdateArea(ctx context.Context, area *Area) error
	DeleteArea(ctx context.Context, id int64) error // Conflict with ReasonAreaInUse while it has areas or nodes
	// FindArea is NotFound with ReasonAreaNotFound. LockArea is the same FOR UPDATE: hold it before something is put into the area.
	FindArea(ctx context.Context, id int64) (*Area, error)
	LockArea(ctx context.Context, id int64) (*Area, error)
	// ListAreas gives the children of a parent: 0 = those at the top, nil = all areas.
	ListAreas(ctx context.Context, parent *int64, page Page) ([]Area, int64, error)
	ListAreaNodes(ctx context.Context, area int64, page Page) ([]Node, int64, error)
}

// ImageStore keeps images and their copies on nodes.
type ImageStore interface {
	InsertImage(ctx context.Context, image *Image) error
	UpdateImage(ctx context.Context, image *Image) error
	DeleteImage(ctx context.Context, id int64) error
	FindImage(ctx context.Context, id int64) (*Image, error)
	// FindImageByName takes an id in decimal, a name, a file name, or a file name without ".qcow2".
	FindImageByName(ctx context.Context, name string) (*Image, error)
	ListImages(ctx context.Context, page Page) ([]Image, int64, error)
	// SearchImages lists the images whose column holds text anywhere, or is it where the column is a number. Invalid (Field "param")
	// for another column than the AMS call selectOsByPageAndCondition documents.
	SearchImages(ctx context.Context, column, text string, page Page) ([]Image, int64, error)
	// CountImageVMs counts the VMs that were installed from an image last.
	CountImageVMs(ctx context.Context, image int64) (int64, error)
	SaveImageCopy(ctx context.Context, imageCopy *ImageCopy) error // insert or update by (image, node)
	FindImageCopy(ctx context.Context, image, node int64) (*ImageCopy, error)
	ListImageCopies(ctx context.Context, image int64) ([]ImageCopy, error)
	// ListNodeImages lists the images that are ready on a node and not disabled.
	ListNodeImages(ctx context.Context, node int64, page Page) ([]Image, int64, error)
}

// AddressStore keeps pools and addresses.
type AddressStore interface {
	InsertPool(ctx context.Context, pool *AddressPool) error
	FindPool(ctx context.Context, id int64) (*AddressPool, error)
	UpdatePool(ctx context.Context, pool *AddressPool) error
	DeletePool(ctx context.Context, id int64) error // Conflict with ReasonPoolInUse while an address is used
	// MovePool gives pool and addresses to another node. Conflict with ReasonPoolInUse while an address is used.
	MovePool(ctx context.Context, id, node int64) error
	ListPools(ctx context.Context, page Page) ([]AddressPool, int64, error)
	CountPool(ctx context.Context, id int64) (PoolCounts, error)
	// InsertAddresses adds many at once (65,536 in under 2 s). Exists when one is known in the cluster already.
	InsertAddresses(ctx context.Context, pool *AddressPool, addresses []Address) error
	ListAddresses(ctx context.Context, pool int64, page Page) ([]Address, int64, error)
	// FreeAddresses lists what a node's pools could give out; pool 0 and version 0 mean any.
	FreeAddresses(ctx context.Context, node, pool int64, version int, page Page) ([]Address, int64, error)
	FindAddress(ctx context.Context, id int64) (*Address, error)
	// FindPoolAddress looks an address up by its text; NotFound when the pool does not have it.
	FindPoolAddress(ctx context.Context, pool int64, ip string) (*Address, error)
	// UpdateAddress changes IP, State and own name servers; Conflict when its State is AddressUsed and IP or State would change.
	UpdateAddress(ctx context.Context, address *Address) error
	// ReserveAddresses marks count free addresses of the node's pools (of version 4 or 6; pool 0 = any) as used by vm, lowest id
	// first. Exhausted when there are not enough: nothing is reserved then.
	ReserveAddresses(ctx context.Context, node, pool int64, version, count int, vm int64) ([]Address, error)
	// ReserveAddress marks one named address of the node's pools. NotFound when no pool has it, Conflict when it is taken.
	ReserveAddress(ctx context.Context, node int64, ip string, vm int64) (*Address, error)
	// ReleaseAddresses frees all that vm holds.
	ReleaseAddresses(ctx context.Context, vm int64) error
}

// SearchPlace is where a search looks.
type SearchPlace string

const (
	SearchEverywhere SearchPlace = ""
	SearchName       SearchPlace = "name"
	SearchAddress    SearchPlace = "address"
	SearchVMID       SearchPlace = "vmid"
)

// VMFilter narrows a list; zero fields do not filter.
type VMFilter struct {
	// Status is what people see: VMStopped finds VMFailed, too, and VMForceStopping VMDeleting.
	Status *VMStatus
	NodeID int64
	Tenant *int64
	// Search matches the name, an address or the VMID, by prefix; SearchIn narrows it to one of them, and to the exact VMID.
	Search   string
	SearchIn SearchPlace
	// Recycled wants the VMs in the recycle bin; without it those in service are meant.
	Recycled bool
	// OldestFirst turns the order round; default is newest first.
	OldestFirst bool
	// ByName orders by name, whatever OldestFirst says.
	ByName bool
}

// VMStore keeps VMs. A destroyed VM's row stays (deleted_at) with its name freed; one in the recycle bin holds everything, and
// all methods but ListVMs and CountVMs treat it like any other.
type VMStore interface {
	// InsertVM sets ID. Exists (Field "hostname", ReasonHostnameTaken) for a taken name. VMID 0 means "not reserved yet" and is stored as NULL.
	InsertVM(ctx context.Context, vm *VM) error
	FindVM(ctx context.Context, id int64) (*VM, error)
	FindVMByVMID(ctx context.Context, cluster int64, vmid int) (*VM, error)
	ListVMs(ctx context.Context, filter VMFilter, page Page) ([]VM, int64, error)
	CountVMs(ctx context.Context, filter VMFilter) (int64, error)
	// UpdateVM writes all columns but Observed; Conflict when the row was deleted.
	UpdateVM(ctx context.Context, vm *VM) error
	// LockVM reads a VM FOR UPDATE inside a transaction.
	LockVM(ctx context.Context, id int64) (*VM, error)
	// SaveObservations writes many at once, outside a transaction in several of its own; unknown VMs are ignored.
	SaveObservations(ctx context.Context, cluster int64, observations []VMObservation) error
	MarkVMDeleted(ctx context.Context, id int64, at time.Time) error
	// DueVMs gives up to count VMs in service that are past their expiry and not marked so yet, VMExpired ones that are not past
	// it any more, and VMs in the recycle bin whose time is over. VMs that a task works on, that
	// are paused or have failed are left out; so are, for ten minutes, those whose last task failed.
	DueVMs(ctx context.Context, now time.Time, count int) (DueVMs, error)
	// ListClusterVMs gives the fields that the poller compares, in one query: id, vmid, node, owner, status, status time, task, power.
	ListClusterVMs(ctx context.Context, cluster int64) ([]VM, error)
}

// DueVMs are ids of VMs whose time has come, see VMStore.
type DueVMs struct{ Expired, Renewed, Destroyed []int64 }

// VMObservation is one VM in a poll. Status, when set, replaces the VM's status if no task works on it and none has set it since
// StatusGrace before Observed.At. NodeID 0 leaves the VM's node.
type VMObservation struct {
	VM       int64
	Observed Observed
	NodeID   int64
	Status   *VMStatus
}

// TaskLimits bound how many tasks (running or waiting) may share a key; 0 = no limit.
type TaskLimits struct{ PerNode, PerStorage, PerTemplate int }

// TaskStore keeps tasks.
type TaskStore interface {
	InsertTask(ctx context.Context, task *Task) error // Exists for a used idempotency key
	FindTask(ctx context.Context, id int64) (*Task, error)
	FindTaskByKey(ctx context.Context, key string) (*Task, error)
	ListTasks(ctx context.Context, filter TaskFilter, page Page) ([]Task, int64, error)
	ListTaskSteps(ctx context.Context, task int64) ([]TaskStep, error)
	// ClaimTasks leases up to count tasks that are ready (RunAfter ≤ now) or whose lease ran out, within limits, tenants in
	// turn, oldest first inside a tenant. It sets State running, LeaseOwner, LeaseUntil and adds 1 to Attempts. No two callers
	// get the same task.
	// A task that waits keeps its place in the limits, one that is ready again (a failure is to be tried later) competes anew.
	ClaimTasks(ctx context.Context, owner string, count int, limits TaskLimits, now, leaseUntil time.Time) ([]Task, error)
	// SaveTask writes a task back under its lease and adds a line to its history unless that is nil: Conflict when owner no longer
	// holds the lease. It keeps Progress from falling, and never writes CancelledBy but reads it back into task. In another state
	// than running the lease ends. Lines are numbered when they are listed.
	SaveTask(ctx context.Context, task *Task, owner string, history *TaskStep) error
	// RenewLeases prolongs the leases that owner holds of the tasks.
	RenewLeases(ctx context.Context, owner string, tasks []int64, until time.Time) error
	// EndLeases ends all leases that owner holds, because it died with them: the tasks can be claimed at once, as a further attempt.
	EndLeases(ctx context.Context, owner string, now time.Time) error
	// WaitingTasks lists tasks in state waiting of a cluster (0 = all), with their operations.
	WaitingTasks(ctx context.Context, cluster int64) ([]Task, error)
	// WakeTask makes a waiting task claimable at once: RunAfter becomes now, its state stays waiting. NotFound when it no longer
	// waits for operation.
	WakeTask(ctx context.Context, id int64, operation string, now time.Time) error
	// NoteProgress stores progress and note of a waiting task; NotFound when it no longer waits for operation.
	NoteProgress(ctx context.Context, id int64, operation string, progress int, note string) error
	// RequestCancel sets CancelledBy, unless it is set, and wakes the task; Conflict when it is final.
	RequestCancel(ctx context.Context, id int64, by string, now time.Time) error
	// RetryTask makes a stuck task ready again in its present direction; Conflict otherwise.
	RetryTask(ctx context.Context, id int64, deadline, now time.Time) error
	// NextRunAfter tells when the first task that is not final becomes due: its RunAfter, or the end of its lease while it runs.
	// Zero when there is none. A time in the past can mean that the task has to wait for the limits.
	NextRunAfter(ctx context.Context) (time.Time, error)
}

// TaskFilter narrows a list of tasks; zero fields do not filter.
type TaskFilter struct {
	VM     int64
	State  TaskState
	Kind   string
	Active bool // only tasks that are not final
}

// AccountStore keeps admins, API keys, orders and the audit log.
type AccountStore interface {
	InsertAdmin(ctx context.Context, admin *Admin) error
	UpdateAdmin(ctx context.Context, admin *Admin) error
	FindAdmin(ctx context.Context, id int64) (*Admin, error)
	FindAdminByName(ctx context.Context, username string) (*Admin, error)
	FindAdminByUUID(ctx context.Context, uuid string) (*Admin, error)
	ListAdmins(ctx context.Context, page Page) ([]Admin, int64, error)
	// DeleteAdmin is Conflict with ReasonLastAdmin when no enabled admin would be left.
	DeleteAdmin(ctx context.Context, id int64) error

	InsertAPIKey(ctx context.Context, key *APIKey) error
	UpdateAPIKey(ctx context.Context, key *APIKey) error
	DeleteAPIKey(ctx context.Context, id int64) error
	FindAPIKey(ctx context.Context, id int64) (*APIKey, error)
	FindAPIKeyByAppID(ctx context.Context, appID string) (*APIKey, error)
	ListAPIKeys(ctx context.Context, page Page) ([]APIKey, int64, error)

	InsertOrder(ctx context.Context, order *Order) error // Exists for a used (key id, key)
	FindOrder(ctx context.Context, apiKey int64, key string) (*Order, error)
	// DeleteOrders frees the idempotency keys of a VM that was undone or deleted.
	DeleteOrders(ctx context.Context, vm int64) error

	InsertAudit(ctx context.Context, entry *AuditEntry) error
	ListAudit(ctx context.Context, page Page) ([]AuditEntry, int64, error)
}

// ConsoleStore keeps console proxies; tokens are kept by server/console's own port.
type ConsoleStore interface {
	InsertConsoleNode(ctx context.Context, node *ConsoleNode) error
	// UpdateConsoleNode writes all but when and how it was looked at last; Healthy and LastError only where Healthy is nil: where the
	// proxy moved.
	UpdateConsoleNode(ctx context.Context, node *ConsoleNode) error
	SaveConsoleHealth(ctx context.Context, id int64, healthy bool, cause string, at time.Time) error
	FindConsoleNode(ctx context.Context, id int64) (*ConsoleNode, error)
	DeleteConsoleNode(ctx context.Context, id int64) error
	FindConsoleNodeByName(ctx context.Context, name string) (*ConsoleNode, error)
	ListConsoleNodes(ctx context.Context, page Page) ([]ConsoleNode, int64, error)
}

// SettingStore keeps named values; secret ones are encrypted.
type SettingStore interface {
	// Setting gives a value; NotFound when it was never set.
	Setting(ctx context.Context, name string) (string, error)
	SaveSetting(ctx context.Context, name, value string, secret bool) error
	// InsertSetting sets a value only if there is none (first start of several replicas); it returns the value that holds.
	InsertSetting(ctx context.Context, name, value string, secret bool) (string, error)
}
