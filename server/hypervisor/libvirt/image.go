package libvirt

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// An image is a volume "gantry-image-<stamp>-<file name>" in a pool of files. It counts from when a second, tiny volume stands beside
// it, of the same name with the image's format and ".complete": libvirt can't rename volumes, and a partial upload must not be taken for
// an image. Each fetch has a stamp of its own, so two at once don't touch each other.
const (
	imagePrefix = "gantry-image-"
	imageDone   = ".complete"
	stampLength = 16 + 1 + 16
)

// imageName splits the name of an image's volume.
func imageName(volume string) (stamp, fileName string, ok bool) {
	rest, ours := strings.CutPrefix(volume, imagePrefix)
	if !ours || len(rest) < stampLength+2 || rest[stampLength] != '-' {
		return "", "", false
	}
	return rest[:stampLength], rest[stampLength+1:], true
}

// imageFile is an image that disks can be made from.
type imageFile struct {
	volume       golibvirt.StorageVol
	path, format string
	size         uint64 // that the guest sees
}

// imagePool is the pool that images are kept in. Unsupported without one.
func (d *driver) imagePool(ctx context.Context) (golibvirt.StoragePool, error) {
	pools, err := d.pools(ctx, golibvirt.ConnectListStoragePoolsActive)
	if err != nil {
		return golibvirt.StoragePool{}, err
	}
	slices.SortFunc(pools, func(a, b golibvirt.StoragePool) int { return strings.Compare(a.Name, b.Name) })
	wanted := d.options.imagePool
	if wanted == "" && slices.ContainsFunc(pools, func(each golibvirt.StoragePool) bool { return each.Name == "default" }) {
		pools = append(slices.DeleteFunc(slices.Clone(pools), func(each golibvirt.StoragePool) bool { return each.Name != "default" }), pools...)
	}
	for _, pool := range pools {
		if wanted != "" && pool.Name != wanted || !poolName.MatchString(pool.Name) {
			continue
		}
		description, err := d.poolXML(ctx, pool)
		if err != nil {
			return golibvirt.StoragePool{}, err
		}
		if filePools[description.Type] {
			return pool, nil
		}
	}
	return golibvirt.StoragePool{}, unsupported("images on a host without an active storage pool of files: define one of type dir, or name one in the cluster's settings")
}

func (d *driver) pools(ctx context.Context, flags golibvirt.ConnectListAllStoragePoolsFlags) ([]golibvirt.StoragePool, error) {
	return read(ctx, d.client, func(l *rpc) ([]golibvirt.StoragePool, error) {
		pools, _, err := l.ConnectListAllStoragePools(1, flags)
		return pools, err
	})
}

func (d *driver) volumes(ctx context.Context, pool golibvirt.StoragePool) ([]golibvirt.StorageVol, error) {
	return read(ctx, d.client, func(l *rpc) ([]golibvirt.StorageVol, error) {
		volumes, _, err := l.StoragePoolListAllVolumes(pool, 1, 0)
		return volumes, err
	})
}

// storedImage is an image's volume as listed; format is empty while it is not whole.
type storedImage struct {
	volume golibvirt.StorageVol
	stamp  string
	file   string
	format string
	marker golibvirt.StorageVol
}

// images lists the image volumes of a pool, whole or not, oldest first.
func (d *driver) images(ctx context.Context, pool golibvirt.StoragePool) ([]storedImage, error) {
	volumes, err := d.volumes(ctx, pool)
	if err != nil {
		return nil, err
	}
	return sortImages(volumes), nil
}

func sortImages(volumes []golibvirt.StorageVol) []storedImage {
	markers := map[string]golibvirt.StorageVol{}
	for _, volume := range volumes {
		if strings.HasPrefix(volume.Name, imagePrefix) && strings.HasSuffix(volume.Name, imageDone) {
			markers[volume.Name] = volume
		}
	}
	var out []storedImage
	for _, volume := range volumes {
		stamp, file, ours := imageName(volume.Name)
		if _, isMarker := markers[volume.Name]; !ours || isMarker {
			continue
		}
		each := storedImage{volume: volume, stamp: stamp, file: file}
		for _, format := range []string{qcow2, raw} {
			if marker, done := markers[volume.Name+"."+format+imageDone]; done {
				each.format, each.marker = format, marker
			}
		}
		out = append(out, each)
	}
	slices.SortFunc(out, func(a, b storedImage) int { return strings.Compare(a.volume.Name, b.volume.Name) })
	return out
}

// imageFile finds an image by its volume. NotFound when it is not there, not whole, or no image.
func (d *driver) imageFile(ctx context.Context, name string) (imageFile, error) {
	pool, volumeName, _ := strings.Cut(name, ":")
	missing := broker.Errorf(broker.NotFound, "there is no image %s", name)
	if _, _, ours := imageName(volumeName); !ours || path.Base(volumeName) != volumeName {
		return imageFile{}, missing
	}
	volume, err := d.findVolume(ctx, name)
	if broker.Is(err, broker.NotFound) {
		return imageFile{}, missing
	}
	if err != nil {
		return imageFile{}, err
	}
	out := imageFile{volume: volume}
	for _, format := range []string{qcow2, raw} {
		_, err := d.findVolume(ctx, pool+":"+volumeName+"."+format+imageDone)
		if err == nil {
			out.format = format
			break
		}
		if !broker.Is(err, broker.NotFound) {
			return imageFile{}, err
		}
	}
	if out.format == "" {
		return imageFile{}, missing
	}
	if out.size, err = d.volumeSize(ctx, volume); err != nil {
		return imageFile{}, err
	}
	out.path, err = read(ctx, d.client, func(l *rpc) (string, error) { return l.StorageVolGetPath(volume) })
	return out, err
}

func (d *driver) volumeSize(ctx context.Context, volume golibvirt.StorageVol) (uint64, error) {
	return read(ctx, d.client, func(l *rpc) (uint64, error) {
		_, capacity, _, err := l.StorageVolGetInfo(volume)
		return capacity, err
	})
}

// FindImage takes four calls. SizeBytes is what a guest sees of it.
func (d *driver) FindImage(ctx context.Context, node, fileName string) (hypervisor.ImageVolume, error) {
	if _, err := d.atNode(ctx, node); err != nil {
		return hypervisor.ImageVolume{}, err
	}
	pool, err := d.imagePool(ctx)
	if err != nil {
		return hypervisor.ImageVolume{}, err
	}
	images, err := d.images(ctx, pool)
	if err != nil {
		return hypervisor.ImageVolume{}, err
	}
	for _, image := range images {
		if image.file == fileName && image.format != "" {
			size, err := d.volumeSize(ctx, image.volume)
			return hypervisor.ImageVolume{Volume: pool.Name + ":" + image.volume.Name, SizeBytes: int64(size)}, err
		}
	}
	return hypervisor.ImageVolume{}, broker.Because(broker.NotFound, broker.ReasonImageNotOnNode, fileName, node)
}

// DeleteImage removes an image that no disk stands on: deleting one that is in use would destroy the guests on it (Conflict).
func (d *driver) DeleteImage(ctx context.Context, node, volume string) error {
	if err := hypervisor.CheckVolume(volume); err != nil {
		return err
	}
	poolName, name, _ := strings.Cut(volume, ":")
	if _, _, ours := imageName(name); !ours {
		return broker.InvalidField("volume", "%q is not an image that was fetched here", volume)
	}
	if _, err := d.atNode(ctx, node); err != nil {
		return err
	}
	image, err := d.imageFile(ctx, volume)
	switch {
	case err == nil:
		if err := d.unused(ctx, image); err != nil {
			return err
		}
	case !broker.Is(err, broker.NotFound):
		return err
	}
	// The mark goes first: an image without it is none.
	for _, each := range []string{name + "." + qcow2 + imageDone, name + "." + raw + imageDone, name} {
		found, err := d.findVolume(ctx, poolName+":"+each)
		if err == nil {
			err = change(ctx, d.client, func(l *rpc) error { return l.StorageVolDelete(found, 0) })
		}
		if err != nil && !broker.Is(err, broker.NotFound) {
			return fmt.Errorf("delete image %s: %w", volume, err)
		}
	}
	return nil
}

// unused looks through all volumes of all pools of files for one that stands on the image.
func (d *driver) unused(ctx context.Context, image imageFile) error {
	pools, err := d.pools(ctx, golibvirt.ConnectListStoragePoolsActive)
	if err != nil {
		return err
	}
	for _, pool := range pools {
		volumes, err := d.volumes(ctx, pool)
		if err != nil {
			return err
		}
		for _, volume := range volumes {
			text, err := read(ctx, d.client, func(l *rpc) (string, error) { return l.StorageVolGetXMLDesc(volume, 0) })
			if broker.Is(err, broker.NotFound) {
				continue // deleted meanwhile
			}
			if err != nil {
				return err
			}
			if standsOn(text, image.path) {
				return broker.Because(broker.Conflict, broker.ReasonImageInUse, image.path, fmt.Sprintf("disk %s:%s stands on it", pool.Name, volume.Name))
			}
		}
	}
	return nil
}

// standsOn reads a volume's description.
func standsOn(description, path string) bool {
	var volume libvirtxml.StorageVolume
	if err := volume.Unmarshal(description); err != nil {
		return true // what can't be read may stand on it
	}
	return volume.BackingStore != nil && volume.BackingStore.Path == path
}
