package api

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gantry/lab/apierror"
	"gantry/lab/cluster"
	"gantry/lab/guestconf"
	"gantry/lab/schema"
	"gantry/lab/storage"
)

const storagePath = " /nodes/{node}/storage/{storage}"

var storageRoutes = map[string]handler{
	"GET /nodes/{node}/storage": nodeStorages,
	"GET" + storagePath: func(*Request) (any, error) {
		return subdirs("content", "download-url", "file-restore", "import-metadata", "prunebackups", "rrd", "rrddata", "status", "upload"), nil
	},
	"GET" + storagePath + "/status": storageStatus,
	"GET" + storagePath + "/rrddata": func(r *Request) (any, error) {
		return r.Cluster.History("storage/"+r.Node+"/"+r.Params.Str("storage"), r.Params.Str("timeframe")), nil
	},
	"GET" + storagePath + "/content":             storageContent,
	"POST" + storagePath + "/content":            allocVolume,
	"GET" + storagePath + "/content/{volume}":    volumeInfo,
	"DELETE" + storagePath + "/content/{volume}": deleteVolume,
	"POST" + storagePath + "/upload":             upload,
	"POST" + storagePath + "/download-url":       downloadURL,
	"GET /nodes/{node}/query-url-metadata": func(r *Request) (any, error) {
		return r.Cluster.URLMetadata(r, r.Params.Str("url"), r.Params.Str("verify-certificates") == "0")
	},
	"GET /storage":              listDefinitions,
	"POST /storage":             addDefinition,
	"GET /storage/{storage}":    getDefinition,
	"PUT /storage/{storage}":    editDefinition,
	"DELETE /storage/{storage}": removeDefinition,
}

func (r *Request) storage() (*storage.Definition, error) {
	return r.Cluster.StorageOnNode(r.Params.Str("storage"), r.Node)
}

func storageRow(c *cluster.Cluster, node string, definition *storage.Definition) map[string]any {
	total, used, free := c.Usage(node, definition)
	return map[string]any{"type": definition.Type, "content": strings.Join(definition.Content, ","), "enabled": flag(!definition.Disabled),
		"active": 1, "shared": flag(definition.IsShared()), "total": total, "used": used, "avail": free}
}

func nodeStorages(r *Request) (any, error) {
	rows := []map[string]any{}
	for _, definition := range r.Cluster.StorageList() {
		if !definition.OnNode(r.Node) || (r.Params.Has("storage") && r.Params.Str("storage") != definition.ID) ||
			!r.has("/storage/"+definition.ID, "Datastore.Audit", "Datastore.AllocateSpace") {
			continue
		}
		wanted := schema.SplitList(r.Params.Str("content"))
		if len(wanted) > 0 && !slices.ContainsFunc(wanted, definition.Has) {
			continue
		}
		if r.Params.Flag("enabled") && definition.Disabled {
			continue
		}
		row := storageRow(r.Cluster, r.Node, &definition)
		row["storage"] = definition.ID
		row["used_fraction"] = float64(row["used"].(int64)) / float64(max(row["total"].(int64), 1))
		rows = append(rows, row)
	}
	return rows, nil
}

func storageStatus(r *Request) (any, error) {
	definition, err := r.Cluster.Storage(r.Params.Str("storage"))
	if err != nil {
		return nil, apierror.Param("storage", "No such storage.")
	}
	if !definition.OnNode(r.Node) {
		return nil, apierror.Param("storage", "No such storage.")
	}
	return storageRow(r.Cluster, r.Node, definition), nil
}

func storageContent(r *Request) (any, error) {
	definition, err := r.storage()
	if err != nil {
		return nil, err
	}
	found, err := r.Cluster.Content(r, r.Node, definition, r.Params.Str("content"), r.Params.Int("vmid", 0))
	if err != nil {
		return nil, err
	}
	rows := []map[string]any{}
	for _, volume := range found {
		row := map[string]any{"volid": volume.VolID, "content": volume.Volume.Content, "format": volume.Volume.Format, "size": volume.Size,
			"ctime": volume.ModTime}
		if volume.Volume.Content == "images" {
			row["size"], row["used"], row["parent"] = volume.Info.VirtualSize, volume.Info.UsedSize, nil
			if volume.Info.Backing != "" {
				row["parent"] = filepath.Join("..", filepath.Base(filepath.Dir(volume.Info.Backing)), filepath.Base(volume.Info.Backing))
			}
			row["vmid"], _ = strconv.Atoi(volume.Volume.VMID)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// volid is the volume of the path: with storage, or without it.
func (r *Request) volid() string {
	volume := r.Params.Str("volume")
	if !strings.Contains(volume, ":") {
		volume = r.Params.Str("storage") + ":" + volume
	}
	return volume
}

func volumeInfo(r *Request) (any, error) {
	if err := r.need("/storage/"+r.Params.Str("storage"), "Datastore.Audit", "Datastore.AllocateSpace"); err != nil {
		return nil, err
	}
	at, err := r.Cluster.Describe(r, r.Node, r.volid())
	if err != nil {
		return nil, err
	}
	row := map[string]any{"path": at.Shown, "format": at.Format, "size": at.Size, "used": at.Used}
	if at.Parent != "" {
		row["parent"] = at.Parent
	}
	return row, nil
}

func deleteVolume(r *Request) (any, error) {
	id, _, err := storage.Split(r.volid())
	if err != nil {
		return nil, apierror.Die("%s", err)
	}
	if err := r.need("/storage/"+id, "Datastore.Allocate", "Datastore.AllocateSpace", "Datastore.AllocateTemplate"); err != nil {
		return nil, err
	}
	return r.Cluster.DeleteVolume(r.User, r.Node, r.volid())
}

func allocVolume(r *Request) (any, error) {
	definition, err := r.storage()
	if err != nil {
		return nil, err
	}
	size := guestconf.ParseSize(r.Params.Str("size"))
	if text := r.Params.Str("size"); text != "" && text[len(text)-1] >= '0' && text[len(text)-1] <= '9' {
		size *= 1024 // plain numbers are KiB here
	}
	return r.Cluster.Allocate(r, r.Node, definition, r.VMID, r.Params.Str("filename"), r.Params.Str("format"), size)
}

// takes checks that the storage is configured for the content and that the file's name fits.
func takes(definition *storage.Definition, content, name string) error {
	if !definition.Has(content) {
		return apierror.Die("storage '%s' is not configured for content-type '%s'", definition.ID, content)
	}
	if !storage.FileNameFits(content, name) {
		return apierror.Param("filename", "invalid filename or wrong extension")
	}
	return nil
}

// fileName is PVE's normalize_content_filename: the last part, other characters replaced.
func fileName(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	return strings.Map(func(letter rune) rune {
		switch {
		case letter >= 'a' && letter <= 'z', letter >= 'A' && letter <= 'Z', letter >= '0' && letter <= '9', strings.ContainsRune("-_.+=", letter):
			return letter
		}
		return '_'
	}, name)
}

func downloadURL(r *Request) (any, error) {
	definition, err := r.storage()
	if err != nil {
		return nil, err
	}
	content, name := r.Params.Str("content"), fileName(r.Params.Str("filename"))
	if err := takes(definition, content, name); err != nil {
		return nil, err
	}
	return r.Cluster.DownloadURL(r.User, r.Node, definition, cluster.Download{URL: r.Params.Str("url"), Content: content, Name: name,
		Checksum: r.Params.Str("checksum"), Algorithm: r.Params.Str("checksum-algorithm"), Insecure: r.Params.Str("verify-certificates") == "0"})
}

// upload reads the multipart body: the fields come first, then the file, as pveproxy demands.
func upload(r *Request) (any, error) {
	_, options, err := mime.ParseMediaType(r.HTTP.Header.Get("Content-Type"))
	if err != nil || options["boundary"] == "" {
		return nil, apierror.Die("upload without file")
	}
	fields := map[string]string{"content": r.Params.Str("content")}
	reader := multipart.NewReader(r.HTTP.Body, options["boundary"])
	for {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			return nil, apierror.Param("filename", "property is missing and it is not optional")
		}
		if err != nil {
			return nil, apierror.Die("upload failed: %s", err)
		}
		if part.FormName() != "filename" {
			value, err := io.ReadAll(io.LimitReader(part, 1<<16))
			if err != nil {
				return nil, apierror.Die("upload failed: %s", err)
			}
			fields[part.FormName()] = string(value)
			continue
		}
		return receive(r, part, fields)
	}
}

func receive(r *Request, part *multipart.Part, fields map[string]string) (any, error) {
	definition, err := r.storage()
	if err != nil {
		return nil, err
	}
	name := fileName(part.FileName())
	if err := takes(definition, fields["content"], name); err != nil {
		return nil, err
	}
	file, err := r.Cluster.TemporaryFile()
	if err != nil {
		return nil, fmt.Errorf("receive the upload: %w", err)
	}
	_, err = io.Copy(file, part)
	if err = errors.Join(err, file.Close()); err != nil {
		_ = os.Remove(file.Name())
		return nil, fmt.Errorf("receive the upload: %w", err)
	}
	return r.Cluster.Upload(r.User, r.Node, definition, fields["content"], name, file.Name(), fields["checksum"], fields["checksum-algorithm"])
}

func definitionRow(definition storage.Definition, list []storage.Definition) map[string]any {
	row := map[string]any{"storage": definition.ID, "type": definition.Type, "content": strings.Join(definition.Content, ","),
		"digest": cluster.DigestOf(list)}
	if definition.Path != "" {
		row["path"] = definition.Path
	}
	if definition.Shared {
		row["shared"] = 1
	}
	if definition.Disabled {
		row["disable"] = 1
	}
	if len(definition.Nodes) > 0 {
		row["nodes"] = strings.Join(definition.Nodes, ",")
	}
	for name, value := range definition.Options {
		row[name] = value
	}
	return row
}

func listDefinitions(r *Request) (any, error) {
	rows := []map[string]any{}
	list := r.Cluster.StorageList()
	for _, definition := range list {
		if (r.Params.Has("type") && definition.Type != r.Params.Str("type")) ||
			!r.has("/storage/"+definition.ID, "Datastore.Audit", "Datastore.AllocateSpace") {
			continue
		}
		rows = append(rows, definitionRow(definition, list))
	}
	return rows, nil
}

func getDefinition(r *Request) (any, error) {
	definition, err := r.Cluster.Storage(r.Params.Str("storage"))
	if err != nil {
		return nil, err
	}
	return definitionRow(*definition, r.Cluster.StorageList()), nil
}

func applyDefinition(definition *storage.Definition, params schema.Params) {
	for name, value := range params.Texts("storage", "type", "digest", "delete") {
		switch name {
		case "path":
			definition.Path = value
		case "content":
			definition.Content = schema.SplitList(value)
		case "nodes":
			definition.Nodes = schema.SplitList(value)
		case "shared":
			definition.Shared = value == "1"
		case "disable":
			definition.Disabled = value == "1"
		default:
			if definition.Options == nil {
				definition.Options = map[string]string{}
			}
			definition.Options[name] = value
		}
	}
}

func addDefinition(r *Request) (any, error) {
	definition := storage.Definition{ID: r.Params.Str("storage"), Type: r.Params.Str("type"), Content: []string{"images", "rootdir"}}
	applyDefinition(&definition, r.Params)
	err := r.Cluster.EditStorages(func(list []storage.Definition) ([]storage.Definition, error) {
		for _, known := range list {
			if known.ID == definition.ID {
				return nil, apierror.Die("create storage failed: storage ID '%s' already defined", definition.ID)
			}
		}
		return append(list, definition), nil
	})
	return map[string]any{"storage": definition.ID, "type": definition.Type}, err
}

func editDefinition(r *Request) (any, error) {
	id := r.Params.Str("storage")
	kind := ""
	err := r.Cluster.EditStorages(func(list []storage.Definition) ([]storage.Definition, error) {
		if digest := r.Params.Str("digest"); digest != "" && digest != cluster.DigestOf(list) {
			return nil, apierror.Die("update storage failed: detected modified configuration - file changed by other user? Try again.")
		}
		for i := range list {
			if list[i].ID == id {
				applyDefinition(&list[i], r.Params)
				kind = list[i].Type
				return list, nil
			}
		}
		return nil, apierror.Die("update storage failed: storage '%s' does not exist", id)
	})
	return map[string]any{"storage": id, "type": kind}, err
}

func removeDefinition(r *Request) (any, error) {
	id := r.Params.Str("storage")
	return nil, r.Cluster.EditStorages(func(list []storage.Definition) ([]storage.Definition, error) {
		kept := slices.DeleteFunc(slices.Clone(list), func(definition storage.Definition) bool { return definition.ID == id })
		if len(kept) == len(list) {
			return nil, apierror.Die("delete storage failed: storage '%s' does not exist", id)
		}
		return kept, nil
	})
}
