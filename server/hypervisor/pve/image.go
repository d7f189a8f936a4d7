package pve

import (
	"context"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/luthermonson/go-proxmox"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// imageFormats are what an import storage takes as disk images since PVE 8.4.
var imageFormats = []string{".qcow2", ".raw", ".vmdk"}

// importName is the name that an image has on an import storage: PVE goes by the extension, and refuses ".img", which is qcow2 for
// nearly all distributions that use it. PVE looks at the content when it imports, so a raw image under that name fails there.
func importName(fileName string) (string, error) {
	extension := path.Ext(fileName)
	switch lower := strings.ToLower(extension); {
	case slices.Contains(imageFormats, lower):
		return strings.TrimSuffix(fileName, extension) + lower, nil
	case lower == ".img":
		return strings.TrimSuffix(fileName, extension) + ".qcow2", nil
	}
	return "", broker.InvalidField("fileName", "must end in .qcow2, .img, .raw or .vmdk")
}

// importStorages are the node's storages for import images. Storages of type esxi have content "import", too, but hold guests of
// another hypervisor.
func (d *driver) importStorages(ctx context.Context, node string) ([]string, error) {
	version, err := d.version(ctx)
	if err != nil {
		return nil, err
	}
	if !atLeast(version, 8, 4) {
		return nil, noImport("Proxmox VE " + version + " can't import images by its API, 8.4 can")
	}
	where, err := nodePath(node, "/storage")
	if err != nil {
		return nil, err
	}
	var rows proxmox.Storages
	if err := d.client.get(ctx, where, url.Values{"content": {"import"}, "enabled": {"1"}}, &rows); err != nil {
		return nil, err
	}
	var names []string
	for _, row := range rows {
		if row.Active == 1 && row.Type != "esxi" {
			names = append(names, row.Name)
		}
	}
	if len(names) == 0 {
		return nil, noImport("node " + node + " has no active storage with content \"import\"")
	}
	slices.Sort(names) // PVE's order is random
	return names, nil
}

func noImport(why string) error {
	return &broker.Error{Kind: broker.Unsupported, Reason: broker.ReasonUnsupported, Detail: why}
}

// FindImage takes two requests, and one more for every further import storage.
func (d *driver) FindImage(ctx context.Context, node, fileName string) (hypervisor.ImageVolume, error) {
	name, err := importName(fileName)
	if err != nil {
		return hypervisor.ImageVolume{}, err
	}
	storages, err := d.importStorages(ctx, node)
	if err != nil {
		return hypervisor.ImageVolume{}, err
	}
	for _, storage := range storages {
		var rows []struct {
			Volume string `json:"volid"`
			Size   int64  `json:"size"`
		}
		where := "/nodes/" + node + "/storage/" + url.PathEscape(storage) + "/content"
		if err := d.client.get(ctx, where, url.Values{"content": {"import"}}, &rows); err != nil {
			return hypervisor.ImageVolume{}, err
		}
		for _, row := range rows {
			if row.Volume == storage+":import/"+name {
				return hypervisor.ImageVolume{Volume: row.Volume, SizeBytes: row.Size}, nil
			}
		}
	}
	return hypervisor.ImageVolume{}, broker.Because(broker.NotFound, broker.ReasonImageNotOnNode, fileName, node)
}

// FetchImage takes two requests. The node downloads to the first of its import storages; a file that is there already ends the
// task with "refusing to override existing file", which OperationState knows as success.
func (d *driver) FetchImage(ctx context.Context, node string, image hypervisor.ImageFetch) (hypervisor.Operation, error) {
	if err := hypervisor.CheckFetch(image); err != nil {
		return hypervisor.Operation{}, err
	}
	name, err := importName(image.FileName)
	if err != nil {
		return hypervisor.Operation{}, err
	}
	storages, err := d.importStorages(ctx, node)
	if err != nil {
		return hypervisor.Operation{}, err
	}
	parameters := map[string]any{"content": "import", "filename": name, "url": image.URL}
	if algorithm, sum, has := strings.Cut(image.Checksum, ":"); has {
		parameters["checksum-algorithm"], parameters["checksum"] = algorithm, strings.ToLower(sum)
	}
	return d.client.begin(ctx, http.MethodPost, "/nodes/"+node+"/storage/"+url.PathEscape(storages[0])+"/download-url", parameters)
}

// DeleteImage takes one request, and those that wait for its task. PVE's own task says OK for a file that is not there.
func (d *driver) DeleteImage(ctx context.Context, node, volume string) error {
	storage, file, isImport := strings.Cut(volume, ":import/")
	if err := hypervisor.CheckVolume(volume); err != nil {
		return err
	}
	if !isImport || file == "" {
		return broker.InvalidField("volume", "%q is not an import image", volume)
	}
	where, err := nodePath(node, "/storage/"+url.PathEscape(storage)+"/content/"+url.PathEscape(volume))
	if err != nil {
		return err
	}
	operation, err := d.client.begin(ctx, http.MethodDelete, where, nil)
	if err == nil {
		err = d.finish(ctx, operation)
	}
	if broker.Is(err, broker.NotFound) {
		return nil
	}
	return err
}

// atLeast compares versions such as "8.4.1" or "9.2.11".
func atLeast(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	theirMajor, err := strconv.Atoi(parts[0])
	if err != nil {
		return false
	}
	theirMinor := 0
	if len(parts) > 1 {
		if theirMinor, err = strconv.Atoi(parts[1]); err != nil {
			return false
		}
	}
	return theirMajor > major || theirMajor == major && theirMinor >= minor
}
