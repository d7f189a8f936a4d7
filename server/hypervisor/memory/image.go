package memory

import (
	"context"
	"strings"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

func (d *driver) FindImage(ctx context.Context, nodeName, fileName string) (hypervisor.ImageVolume, error) {
	var out hypervisor.ImageVolume
	err := d.read(ctx, Call{Method: "FindImage", Node: nodeName}, func() error {
		host, storage, err := d.imports(nodeName)
		if err != nil {
			return err
		}
		size, known := d.cluster.images[imageKey{host.Name, fileName}]
		if !known {
			return broker.Because(broker.NotFound, broker.ReasonImageNotOnNode, fileName, nodeName)
		}
		out = hypervisor.ImageVolume{Volume: storage.Name + ":import/" + fileName, SizeBytes: size}
		return nil
	})
	return out, err
}

func (d *driver) imports(nodeName string) (*node, *Storage, error) {
	if !d.Info().Capabilities.ImageFetch {
		return nil, nil, unsupported("image import")
	}
	host, err := d.cluster.reachable(nodeName)
	if err != nil {
		return nil, nil, err
	}
	storage := host.importStorage()
	if storage == nil {
		return nil, nil, unsupported("image import: node " + nodeName + " has no storage for import images")
	}
	return host, storage, nil
}

func (d *driver) FetchImage(ctx context.Context, nodeName string, image hypervisor.ImageFetch) (hypervisor.Operation, error) {
	if err := hypervisor.CheckFetch(image); err != nil {
		return hypervisor.Operation{}, err
	}
	c := d.cluster
	return d.change(ctx, Call{Method: "FetchImage", Node: nodeName}, func(fault Fault) (hypervisor.Operation, error) {
		host, _, err := d.imports(nodeName)
		if err != nil {
			return hypervisor.Operation{}, err
		}
		key := imageKey{host.Name, image.FileName}
		if _, known := c.images[key]; known {
			return hypervisor.Operation{}, nil
		}
		return c.begin(host.Name, nil, 0, hypervisor.OperationFetch, fault, func() error {
			source, known := c.config.Sources[image.URL]
			if !known {
				return broker.Errorf(broker.Failed, "download of %s failed: not found", image.URL)
			}
			if image.Checksum != "" && !strings.EqualFold(image.Checksum, source.Checksum) {
				return broker.Errorf(broker.Failed, "checksum mismatch: got %s, expected %s", source.Checksum, image.Checksum)
			}
			c.images[key] = source.SizeBytes
			return nil
		}, nil), nil
	})
}

func (d *driver) DeleteImage(ctx context.Context, nodeName, volumeName string) error {
	c := d.cluster
	_, err := d.change(ctx, Call{Method: "DeleteImage", Node: nodeName}, func(Fault) (hypervisor.Operation, error) {
		host, _, err := d.imports(nodeName)
		if err != nil {
			return hypervisor.Operation{}, err
		}
		_, file, isImport := strings.Cut(volumeName, ":import/")
		if !isImport {
			return hypervisor.Operation{}, broker.InvalidField("volume", "%q is not an import image", volumeName)
		}
		delete(c.images, imageKey{host.Name, file})
		return hypervisor.Operation{}, nil
	})
	return err
}
