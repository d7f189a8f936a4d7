package libvirt

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// Types of pools. Volumes of the first are files, of the second block devices; other types hold what QEMU reaches over the network or
// what can't be made by libvirt.
var (
	filePools  = map[string]bool{"dir": true, "fs": true, "netfs": true}
	blockPools = map[string]bool{"logical": true, "zfs": true}
)

// Formats of volumes. Files are qcow2, so that they grow with what is written and can stand on an image. The format is in the name,
// because libvirt guesses it from content, which a guest can write as it likes.
const (
	qcow2 = "qcow2"
	raw   = "raw"
)

// storage is a pool that takes disks.
type storage struct {
	pool   golibvirt.StoragePool
	format string
}

func (s storage) files() bool { return s.format == qcow2 }

// storageNamed takes two calls. NotFound without such a pool, Unsupported for one that takes no disks.
func (d *driver) storageNamed(ctx context.Context, name string) (storage, error) {
	pool, err := read(ctx, d.client, func(l *rpc) (golibvirt.StoragePool, error) { return l.StoragePoolLookupByName(name) })
	if err != nil {
		return storage{}, err
	}
	description, err := d.poolXML(ctx, pool)
	if err != nil {
		return storage{}, err
	}
	switch {
	case filePools[description.Type]:
		return storage{pool: pool, format: qcow2}, nil
	case blockPools[description.Type]:
		return storage{pool: pool, format: raw}, nil
	}
	refused := unsupported(fmt.Sprintf("disks in pool %s of type %q", name, description.Type))
	refused.Field = "storage"
	return storage{}, refused
}

func (d *driver) poolXML(ctx context.Context, pool golibvirt.StoragePool) (libvirtxml.StoragePool, error) {
	text, err := read(ctx, d.client, func(l *rpc) (string, error) { return l.StoragePoolGetXMLDesc(pool, 0) })
	if err != nil {
		return libvirtxml.StoragePool{}, err
	}
	var out libvirtxml.StoragePool
	if err := out.Unmarshal(text); err != nil {
		return out, &broker.Error{Kind: broker.Failed, Detail: fmt.Sprintf("pool %s can't be read", pool.Name), Err: err}
	}
	return out, nil
}

// volumePrefix begins the names of a guest's volumes. The owner is in it: what another guest of that id left behind is not ours.
func volumePrefix(id int, owner string) string { return fmt.Sprintf("%s%d-%s-", namePrefix, id, owner) }

// nextVolume is a name that the guest's record does not have yet.
func (g *guest) nextVolume(pool, suffix string) string {
	prefix := volumePrefix(g.id, g.owner())
	next := 1
	for _, each := range g.record.Volumes {
		_, name, _ := strings.Cut(each.Name, ":")
		digits, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), ".")
		if number, err := strconv.Atoi(digits); err == nil && number >= next {
			next = number + 1
		}
	}
	return fmt.Sprintf("%s:%s%d.%s", pool, prefix, next, suffix)
}

func formatOf(name string) string {
	if strings.HasSuffix(name, "."+qcow2) {
		return qcow2
	}
	return raw
}

// findVolume looks a volume up by "pool:name".
func (d *driver) findVolume(ctx context.Context, name string) (golibvirt.StorageVol, error) {
	poolName, volumeName, _ := strings.Cut(name, ":")
	pool, err := read(ctx, d.client, func(l *rpc) (golibvirt.StoragePool, error) { return l.StoragePoolLookupByName(poolName) })
	if err != nil {
		return golibvirt.StorageVol{}, err
	}
	return read(ctx, d.client, func(l *rpc) (golibvirt.StorageVol, error) { return l.StorageVolLookupByName(pool, volumeName) })
}

// volumeOf names the volume behind a path: as the record has it, else as libvirt knows it, else the path itself.
func (d *driver) volumeOf(ctx context.Context, g *guest, file string) (string, error) {
	for _, each := range g.record.Volumes {
		if each.Path == file && file != "" {
			return each.Name, nil
		}
	}
	if file == "" {
		return "", nil
	}
	volume, err := read(ctx, d.client, func(l *rpc) (golibvirt.StorageVol, error) { return l.StorageVolLookupByPath(file) })
	if broker.Is(err, broker.NotFound) {
		return file, nil
	}
	return volume.Pool + ":" + volume.Name, err
}

// volumeXML describes a volume to make. base is what it stands on; empty path = nothing.
func volumeXML(name, format string, size uint64, base imageFile) (string, error) {
	description := libvirtxml.StorageVolume{
		Name:     path.Base(name),
		Capacity: &libvirtxml.StorageVolumeSize{Unit: "bytes", Value: size},
		Target:   &libvirtxml.StorageVolumeTarget{Format: &libvirtxml.StorageVolumeTargetFormat{Type: format}},
	}
	if format == qcow2 {
		description.Allocation = &libvirtxml.StorageVolumeSize{Unit: "bytes", Value: 0}
		description.Target.Compat = "1.1"
	}
	if base.path != "" {
		description.BackingStore = &libvirtxml.StorageVolumeBackingStore{Path: base.path, Format: &libvirtxml.StorageVolumeTargetFormat{Type: base.format}}
	}
	text, err := description.Marshal()
	if err != nil {
		return "", fmt.Errorf("write volume description: %w", err)
	}
	return text, nil
}

// makeDisk makes a volume for a disk and tells its path. It stands in the guest's record before it exists, and is whole there with its
// path; the caller writes the record with that.
func (d *driver) makeDisk(ctx context.Context, g *guest, spec hypervisor.DiskSpec) (recordVolume, error) {
	where, err := d.storageNamed(ctx, spec.Storage)
	if err != nil {
		return recordVolume{}, err
	}
	var image imageFile
	if spec.ImportFrom != "" {
		if image, err = d.imageFile(ctx, spec.ImportFrom); err != nil {
			return recordVolume{}, err
		}
	}
	name := g.nextVolume(spec.Storage, where.format)
	g.record.Volumes = append(g.record.Volumes, recordVolume{Name: name})
	if err := d.put(ctx, g); err != nil {
		return recordVolume{}, err
	}
	volume, err := d.makeVolume(ctx, where, strings.TrimPrefix(name, spec.Storage+":"), uint64(spec.SizeBytes), image)
	if err != nil {
		return recordVolume{}, err
	}
	file, err := read(ctx, d.client, func(l *rpc) (string, error) { return l.StorageVolGetPath(volume) })
	if err != nil {
		return recordVolume{}, err
	}
	made := g.record.volume(name)
	made.Path = file
	return *made, nil
}

func (d *driver) makeVolume(ctx context.Context, where storage, name string, size uint64, image imageFile) (golibvirt.StorageVol, error) {
	var volume golibvirt.StorageVol
	switch {
	case image.path == "":
		text, err := volumeXML(name, where.format, size, imageFile{})
		if err != nil {
			return volume, err
		}
		return ask(ctx, d.client, func(l *rpc) (golibvirt.StorageVol, error) { return l.StorageVolCreateXML(where.pool, text, 0) })
	case where.files() && d.options.diskMode == backing:
		text, err := volumeXML(name, where.format, image.size, image)
		if err != nil {
			return volume, err
		}
		return ask(ctx, d.client, func(l *rpc) (golibvirt.StorageVol, error) { return l.StorageVolCreateXML(where.pool, text, 0) })
	}
	text, err := volumeXML(name, where.format, image.size, imageFile{})
	if err != nil {
		return volume, err
	}
	err = d.client.transfer(ctx, func(l *rpc) error {
		var err error
		volume, err = l.StorageVolCreateXMLFrom(where.pool, text, image.volume, 0)
		return err
	})
	return volume, err
}

// deleteVolume removes one of the guest's own volumes; one that is gone, or whose pool is gone, is no error. Nothing but what carries
// the guest's own name, or was claimed for it, is ever sent.
func (d *driver) deleteVolume(ctx context.Context, g *guest, name string) error {
	_, file, _ := strings.Cut(name, ":")
	noted := g.record.volume(name)
	if !strings.HasPrefix(file, volumePrefix(g.id, g.owner())) && (noted == nil || !noted.Claimed) {
		return broker.Errorf(broker.Conflict, "volume %s is not one that was made for guest %d", name, g.id)
	}
	volume, err := d.findVolume(ctx, name)
	if err == nil {
		err = change(ctx, d.client, func(l *rpc) error { return l.StorageVolDelete(volume, 0) })
	}
	if broker.Is(err, broker.NotFound) {
		return nil
	}
	return err
}
