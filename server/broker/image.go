package broker

import "time"

// ImageSource says where an image comes from (AMS downType).
type ImageSource int

const (
	// ImageFromURL is downloaded to nodes by Gantry.
	ImageFromURL ImageSource = 0
	// ImageUploaded was put on the nodes by hand.
	ImageUploaded ImageSource = 1
)

// Image is an operating system disk image in the registry.
type Image struct {
	ID           int64
	Name         string // unique, for people
	FileName     string // unique, with extension
	Family       string // "linux" or "windows" (AMS type)
	Distribution string // centos, debian, … (AMS osType)
	Arch         string // x86_64, aarch64, …
	Source       ImageSource
	URL          string
	// Checksum is "sha256:hex" or "sha512:hex", or the address of the publisher's checksum file (SHA256SUMS, CHECKSUM), which is read at each
	// download; empty = not checked.
	Checksum string
	// Directory on a node for images that `controlled` keeps; default /home/images.
	Directory string
	CloudInit bool
	// GuestAgent: the image runs QEMU's guest agent. Proxmox VE asks the agent, and nobody else, of a guest that is said to have one:
	// with a wrong yes every shutdown runs into its timeout.
	GuestAgent bool
	SizeBytes  int64 // 0 = unknown
	Disabled   bool
	Reason     string
	CreatedAt  time.Time
}

// ImageCopyState is the AMS nodeStatus.status.
type ImageCopyState int

const (
	ImageAbsent      ImageCopyState = 0
	ImageDownloading ImageCopyState = 1
	ImageReady       ImageCopyState = 2
	ImageFailed      ImageCopyState = 3
)

// ImageCopy is the state of an image on one node; unique by (image, node).
type ImageCopy struct {
	ImageID, NodeID int64
	State           ImageCopyState
	Progress        int // percent
	// Volume is how the hypervisor names the copy: a PVE volume id such as "local:import/x.qcow2" when the API imports it,
	// an absolute path on the node when `controlled` does.
	Volume string
	// ByDaemon tells that the copy is a file that `controlled` imports.
	ByDaemon  bool
	SizeBytes int64
	Error     string
	TaskID    *int64
	UpdatedAt time.Time
}
