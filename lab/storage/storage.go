// Package storage knows the cluster's storages: their definitions, the names of volumes and where these lie.
package storage

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Definition is one entry of storage.cfg.
type Definition struct {
	ID       string            `json:"storage"`
	Type     string            `json:"type"` // dir, nfs, cifs, btrfs, lvm, lvmthin, zfspool, rbd, …
	Path     string            `json:"path,omitempty"`
	Content  []string          `json:"content"`
	Nodes    []string          `json:"nodes,omitempty"` // empty = all
	Shared   bool              `json:"shared,omitempty"`
	Disabled bool              `json:"disable,omitempty"`
	Options  map[string]string `json:"options,omitempty"`
	// Total is the size in bytes that the storage reports.
	Total int64 `json:"total"`
}

// DefaultTotal is the size of a storage that does not say.
const DefaultTotal = 4 << 40

// Has tells whether the storage takes that kind of content.
func (d *Definition) Has(content string) bool { return slices.Contains(d.Content, content) }

// OnNode tells whether the storage may be used on the node.
func (d *Definition) OnNode(node string) bool {
	return len(d.Nodes) == 0 || slices.Contains(d.Nodes, node)
}

// FileBased tells whether volumes are files with an extension.
func (d *Definition) FileBased() bool {
	switch d.Type {
	case "dir", "nfs", "cifs", "btrfs", "cephfs", "glusterfs":
		return true
	}
	return false
}

// SnapshotsRaw tells whether raw volumes can be snapshotted there.
func (d *Definition) SnapshotsRaw() bool {
	switch d.Type {
	case "lvmthin", "zfspool", "rbd", "btrfs":
		return true
	}
	return false
}

// IsShared tells whether all nodes see the same volumes.
func (d *Definition) IsShared() bool {
	switch d.Type {
	case "nfs", "cifs", "rbd", "cephfs", "glusterfs":
		return true
	}
	return d.Shared
}

// MountPoint is the folder on a node that logs and error texts name.
func (d *Definition) MountPoint() string {
	switch {
	case d.Path != "":
		return d.Path
	case d.FileBased():
		return "/mnt/pve/" + d.ID
	}
	return "/dev/" + d.ID
}

// Root is where the storage's files really are below the lab's data directory.
func (d *Definition) Root(dataDir, node string) string {
	if d.IsShared() {
		return filepath.Join(dataDir, "storage", d.ID)
	}
	return filepath.Join(dataDir, "nodes", node, "storage", d.ID)
}

// Volume is a parsed volume id.
type Volume struct {
	Storage string
	Name    string // as in the id, after the colon
	Content string // images, iso, vztmpl, import, snippets, backup
	VMID    string // owner, images only
	File    string // last part
	Base    string // volume name of the parent of a linked clone, without storage
	Format  string
}

var (
	volumeID    = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9\-_.]*[a-zA-Z0-9]):(.+)$`)
	fileImage   = regexp.MustCompile(`^(\d+)/([^/\s]+)$`)
	fileLinked  = regexp.MustCompile(`^(\d+)/([^/\s]+)/(\d+)/([^/\s]+)$`)
	blockImage  = regexp.MustCompile(`^((vm|base)-(\d+)-[^/\s]+)$`)
	blockLinked = regexp.MustCompile(`^(base-(\d+)-[^/\s]+)/(vm-(\d+)-[^/\s]+)$`)
	otherKinds  = map[string]string{"iso": "template/iso", "vztmpl": "template/cache", "import": "import", "snippets": "snippets", "backup": "dump"}
)

// ErrNotVolume is returned for text that is no volume id.
var ErrNotVolume = errors.New("unable to parse volume ID")

// Split separates storage and volume name.
func Split(volid string) (storage, name string, err error) {
	parts := volumeID.FindStringSubmatch(volid)
	if parts == nil {
		return "", "", fmt.Errorf("unable to parse volume ID '%s'", volid)
	}
	return parts[1], parts[2], nil
}

// Parse reads a volume's name on this storage.
func (d *Definition) Parse(name string) (Volume, error) {
	volume := Volume{Storage: d.ID, Name: name, Content: "images", Format: "raw"}
	bad := fmt.Errorf("unable to parse directory volume name '%s'", name)
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || strings.HasPrefix(part, ".") {
			return Volume{}, bad
		}
	}
	if !d.FileBased() {
		if parts := blockLinked.FindStringSubmatch(name); parts != nil {
			volume.Base, volume.File, volume.VMID = parts[1], parts[3], parts[4]
			return volume, nil
		}
		if parts := blockImage.FindStringSubmatch(name); parts != nil {
			volume.File, volume.VMID = parts[1], parts[3]
			return volume, nil
		}
		return Volume{}, fmt.Errorf("unable to parse %s volume name '%s'", d.Type, name)
	}
	if kind, file, found := strings.Cut(name, "/"); found && otherKinds[kind] != "" && !strings.Contains(file, "/") {
		volume.Content, volume.File = kind, file
		volume.Format = strings.TrimPrefix(filepath.Ext(file), ".")
		return volume, nil
	}
	if parts := fileLinked.FindStringSubmatch(name); parts != nil {
		volume.Base, volume.VMID, volume.File = parts[1]+"/"+parts[2], parts[3], parts[4]
	} else if parts := fileImage.FindStringSubmatch(name); parts != nil {
		volume.VMID, volume.File = parts[1], parts[2]
	} else {
		return Volume{}, bad
	}
	volume.Format = strings.TrimPrefix(filepath.Ext(volume.File), ".")
	switch volume.Format {
	case "raw", "qcow2", "vmdk":
		return volume, nil
	}
	return Volume{}, bad
}

// below is the volume's place under the storage's folder.
func (d *Definition) below(volume Volume) string {
	if !d.FileBased() {
		return volume.File
	}
	if volume.Content == "images" {
		return filepath.Join("images", volume.VMID, volume.File)
	}
	return filepath.Join(otherKinds[volume.Content], volume.File)
}

// File is the volume's real path; Shown is the path that a node would print.
func (d *Definition) File(dataDir, node string, volume Volume) string {
	return filepath.Join(d.Root(dataDir, node), d.below(volume))
}

// Shown is the path that a node would print.
func (d *Definition) Shown(volume Volume) string {
	return filepath.Join(d.MountPoint(), d.below(volume))
}

// Folder is the real folder of one kind of content.
func (d *Definition) Folder(dataDir, node, content string) string {
	root := d.Root(dataDir, node)
	switch {
	case !d.FileBased():
		return root
	case content == "images":
		return filepath.Join(root, "images")
	}
	return filepath.Join(root, otherKinds[content])
}

// ImageName is the name of a guest's volume: VMID/FILE.EXT on folders, FILE on block storages.
func (d *Definition) ImageName(vmid int, stem, format string) string {
	if d.FileBased() {
		return fmt.Sprintf("%d/%s.%s", vmid, stem, format)
	}
	return stem
}

// Formats are those that the storage can hold, the default first.
func (d *Definition) Formats() []string {
	if d.FileBased() && d.Type != "btrfs" {
		return []string{"raw", "qcow2", "vmdk"}
	}
	return []string{"raw"}
}

var fileNames = map[string]*regexp.Regexp{
	"iso":    regexp.MustCompile(`(?i)^[^/]+\.(iso|img)$`),
	"vztmpl": regexp.MustCompile(`(?i)^[^/]+\.tar\.(gz|xz|zst|bz2)$`),
	"import": regexp.MustCompile(`(?i)^[^/]+\.(ova|ovf|qcow2|raw|vmdk)$`),
}

// FileNameFits tells whether a file of that name may be uploaded as this kind of content.
func FileNameFits(content, name string) bool {
	return fileNames[content] != nil && fileNames[content].MatchString(name) && !strings.HasPrefix(name, ".")
}
