package controlledclient

// What daemon and client say to each other. The envelope, the paths and the fields marked "documented" are those of the
// ProxmoxVE-AMS daemon (seed 003, 受控端), so its clients can talk to ours; all others are additions.

// Codes of an Envelope. The HTTP status is 200 wherever the daemon understood the call; it is 401 or 429 for a wrong
// secret and 404 for an unknown route.
const (
	CodeSuccess      = 200
	CodeUnauthorized = 401
	CodeNotFound     = 404
	CodeError        = 500
)

// Envelope is every reply.
type Envelope[Data any] struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    Data   `json:"data"`
}

// Reason says in one word why a call failed, in the data of an envelope whose code is not 200.
type Reason string

const (
	ReasonInvalid   Reason = "invalid"   // a field is missing, malformed or out of range; Refusal.Field names it
	ReasonForbidden Reason = "forbidden" // a path outside the configured folders, an address that may not be fetched
	ReasonNotFound  Reason = "not_found"
	ReasonConflict  Reason = "conflict" // the key or target is taken by other parameters
	ReasonBusy      Reason = "busy"     // a limit is reached; try later
	ReasonFailed    Reason = "failed"   // the command or the file system said no; the message has its words
)

// Refusal is the data of a failed call.
type Refusal struct {
	Reason Reason `json:"reason"`
	Field  string `json:"field,omitempty"`
}

// Status is the data of GET /status.
type Status struct {
	Status string `json:"status"` // documented: always "running"
}

// Version is the data of GET /version.
type Version struct {
	Version string `json:"version"` // documented
}

// FileList is the data of GET /pathFile: the names in a folder.
type FileList struct {
	Files []string `json:"files"` // documented
}

// FileContent is the data of POST /readFile.
type FileContent struct {
	Data string `json:"data"` // documented
}

// DownloadState is where a download stands.
type DownloadState string

const (
	DownloadQueued    DownloadState = "queued"
	DownloadRunning   DownloadState = "running"
	DownloadVerifying DownloadState = "verifying" // all bytes are here, the checksum is being computed
	DownloadDone      DownloadState = "done"
	DownloadFailed    DownloadState = "failed"
)

// Download is the data of GET /wget from the second call on; the first call's data is empty, as documented.
type Download struct {
	File     string        `json:"file"`     // documented: name of the file in the folder
	Progress string        `json:"progress"` // documented: "12.3%"; stays "0.0%" while the size is unknown
	State    DownloadState `json:"state"`
	Bytes    int64         `json:"bytes"`              // bytes on disk
	Total    int64         `json:"total"`              // bytes expected, -1 = unknown
	Checksum string        `json:"checksum,omitempty"` // "sha256:…" when one was asked for
	Error    string        `json:"error,omitempty"`    // why it failed
}

// OperationState is where a durable operation stands.
type OperationState string

const (
	OperationRunning OperationState = "running"
	OperationDone    OperationState = "done"
	OperationFailed  OperationState = "failed"
	// OperationLost means that the command's end was not seen (the node went down, or its supervisor was killed):
	// look at the guest's configuration before doing anything again.
	OperationLost OperationState = "lost"
)

// ImportDisk is the body of POST /importDisk.
type ImportDisk struct {
	VMID      int64  `json:"vmid"`       // documented
	ImagePath string `json:"image_path"` // documented: absolute path of an image file on the node
	SavePath  string `json:"save_path"`  // documented: the PVE storage that gets the volume
	// Format of the new volume: raw, qcow2, vmdk or empty for the storage's own default.
	Format string `json:"format,omitempty"`
	// Operation is an idempotency key chosen by the caller, up to 64 letters, digits, "-", "_"; empty lets the daemon choose.
	// The same key again is the same operation and never imports twice, for as long as the daemon keeps finished operations (a week unless configured).
	Operation string `json:"operation,omitempty"`
}

// Operation is the data of POST /importDisk and GET /operations/{id}.
type Operation struct {
	ID        string         `json:"operation"`
	State     OperationState `json:"state"`
	Percent   float64        `json:"percent"`              // 0…100, as qm last printed it
	VolumeID  string         `json:"volume_id,omitempty"`  // for instance local:110/vm-110-disk-0.qcow2
	ConfigKey string         `json:"config_key,omitempty"` // where the volume hangs in the guest's configuration, for instance unused0
	ExitCode  *int           `json:"exit_code,omitempty"`  // absent while running and when lost
	Output    string         `json:"output,omitempty"`     // the last lines that the command printed
}

// UpdateState is where an update of the daemon stands.
type UpdateState string

const (
	UpdateCurrent    UpdateState = "current"    // the release is not newer than what runs
	UpdateRestarting UpdateState = "restarting" // the new program is in its place and takes over now
	UpdateDone       UpdateState = "done"
	UpdateRolledBack UpdateState = "rolled_back" // the new program did not answer; the old one is back
)

// Update is the data of POST /update and GET /update.
type Update struct {
	Version string      `json:"version"`
	State   UpdateState `json:"state"`
	Error   string      `json:"error,omitempty"`
}

// VNC is the body of POST /vnc and POST /vnc/import, all documented.
type VNC struct {
	File     string `json:"vnc_file_path"` // websockify's token file, or a folder of such
	Host     string `json:"host"`          // where websockify finds the service
	Port     int    `json:"port"`
	Token    string `json:"username"`
	Password string `json:"password"` // VNC looks at its first 8 bytes
	Time     int    `json:"time"`     // seconds
	VMID     int64  `json:"vmid"`
}
