package admin

import (
	"context"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

func (c *Calls) imageRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/insertOs", Auth: route.Admin, Name: "insertOs", Group: "image", Audit: true,
			Summary: "Adds an image to the registry. It is on no node yet: see downloadOs.",
		}, c.insertImage),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/selectOsByPage", Auth: route.Admin, Name: "selectOsByPage", Group: "image",
			Summary: "Lists images with their state on each node.",
		}, c.listImages),
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/downloadOs", Auth: route.Admin, Name: "downloadOs", Group: "image", Audit: true,
			Summary: "Downloads an image to a node; the progress is in selectOsByPage and in the task.",
		}, c.downloadImage),
	}
}

// imageAdded is documented without the exclamation mark that adding a node has.
const imageAdded = "添加成功"

// ImageRequest describes an image.
type ImageRequest struct {
	Name      string `json:"name" rule:"required,max=100" doc:"name for people; unique"`
	FileName  string `json:"fileName" rule:"required,max=128" doc:"with extension; unique"`
	Type      string `json:"type" rule:"required,max=16" doc:"linux or win (windows)"`
	Arch      string `json:"arch" rule:"max=16" doc:"default x86_64"`
	OSType    string `json:"osType" rule:"max=32" doc:"centos, debian, ubuntu, alpine, fedora, opensuse, ubuntukylin or other; required for linux"`
	DownType  *int   `json:"downType" rule:"required,min=0,max=1" doc:"0 download from url, 1 put on the nodes by hand"`
	URL       string `json:"url" rule:"max=2000" doc:"required where downType is 0"`
	Checksum  string `json:"checksum" rule:"max=200" doc:"sha256:… or sha512:…, lower-case hex, or the address of the publisher's checksum file; default: not checked"`
	Path      string `json:"path" rule:"max=200" doc:"folder on the nodes; default /home/images"`
	CloudInit bool   `json:"cloud" doc:"1: the image has cloud-init; default 0"`
	Agent     bool   `json:"agent" doc:"1: the image runs QEMU's guest agent; default 0. Gantry's own"`
}

func (c *Calls) insertImage(ctx context.Context, _ *route.Call, request ImageRequest) (string, error) {
	err := c.Broker.AddImage(ctx, &broker.Image{
		Name: request.Name, FileName: request.FileName, Family: request.Type, Distribution: request.OSType, Arch: request.Arch,
		Source: broker.ImageSource(*request.DownType), URL: request.URL, Checksum: request.Checksum, Directory: request.Path,
		CloudInit: request.CloudInit, GuestAgent: request.Agent,
	})
	if err != nil {
		return "", err
	}
	return imageAdded, nil
}

func (c *Calls) listImages(ctx context.Context, _ *route.Call, request ams.Paging) (ams.List[*ams.Image], error) {
	page := request.Wanted()
	images, total, err := c.Store.ListImages(ctx, page)
	if err != nil {
		return ams.List[*ams.Image]{}, broker.Wrap(err, "list images")
	}
	return c.imageRecords(ctx, images, total, page)
}

func (c *Calls) imageRecords(ctx context.Context, images []broker.Image, total int64, page broker.Page) (_ ams.List[*ams.Image], err error) {
	reader := ams.NewReader(c.Store)
	records := make([]*ams.Image, len(images))
	for i := range images {
		if records[i], err = reader.Image(ctx, &images[i]); err != nil {
			return ams.List[*ams.Image]{}, err
		}
	}
	return ams.ListOf(records, total, page, func(record **ams.Image) *ams.Image { return *record }), nil
}

// DownloadRequest names image and node.
type DownloadRequest struct {
	ImageID int64 `json:"osId" rule:"required,min=1"`
	NodeID  int64 `json:"nodeId" rule:"required,min=1"`
}

func (c *Calls) downloadImage(ctx context.Context, call *route.Call, request DownloadRequest) (ams.TaskRef, error) {
	task, err := c.Broker.DownloadImage(ctx, request.ImageID, request.NodeID, call.Actor)
	if err != nil {
		return ams.TaskRef{}, err
	}
	call.NoteTask(task)
	return ams.TaskRef{TaskID: task.ID}, nil
}
