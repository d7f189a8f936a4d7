package ams

import (
	"context"
	"strconv"

	"gantry/server/broker"
)

// Image is an operating system image as selectOsByPage shows it.
type Image struct {
	ID         int64                `json:"id"`
	Name       string               `json:"name"`
	FileName   string               `json:"fileName"`
	Type       string               `json:"type"`
	Arch       string               `json:"arch"`
	OSType     string               `json:"osType"`
	NodeStatus map[string]ImageNode `json:"nodeStatus" doc:"by a running number; null when it is on no node"`
	DownType   int                  `json:"downType"`
	URL        *string              `json:"url"`
	Size       string               `json:"size" doc:"like 597MB; empty = unknown"`
	Path       string               `json:"path"`
	Cloud      int                  `json:"cloud"`
	Status     int                  `json:"status" doc:"0 usable, 1 disabled"`
	Reason     *string              `json:"reason"`
	CreateTime int64                `json:"createTime"`
}

// ImageNode is the state of an image on one node.
type ImageNode struct {
	NodeID   int64  `json:"nodeId"`
	Status   int    `json:"status" doc:"0 absent, 1 downloading, 2 ready, 3 failed"`
	NodeName string `json:"nodeName"`
	Schedule int    `json:"schedule" doc:"percent"`
	Error    string `json:"error,omitempty"`
}

// Image reads the states of an image and makes its object.
func (r *Reader) Image(ctx context.Context, image *broker.Image) (*Image, error) {
	if known, found := r.images[image.ID]; found {
		return known, nil
	}
	record := &Image{
		ID: image.ID, Name: image.Name, FileName: image.FileName, Type: image.Family, Arch: image.Arch, OSType: image.Distribution,
		DownType: int(image.Source), URL: Optional(image.URL), Size: sizeText(image.SizeBytes), Path: image.Directory,
		Cloud: flag(image.CloudInit), Status: flag(image.Disabled), Reason: Optional(image.Reason),
		CreateTime: image.CreatedAt.UnixMilli(),
	}
	copies, err := r.store.ListImageCopies(ctx, image.ID)
	if err != nil {
		return nil, broker.Wrap(err, "list the copies of an image")
	}
	for i, each := range copies {
		if record.NodeStatus == nil {
			record.NodeStatus = make(map[string]ImageNode, len(copies))
		}
		node, err := r.node(ctx, each.NodeID)
		if err != nil {
			return nil, err
		}
		progress, err := r.downloadProgress(ctx, each)
		if err != nil {
			return nil, err
		}
		state := ImageNode{NodeID: each.NodeID, Status: int(each.State), Schedule: progress, Error: each.Error}
		if node != nil {
			state.NodeName = node.Name
		}
		record.NodeStatus[strconv.Itoa(i)] = state
		if image.SizeBytes == 0 && each.SizeBytes > 0 {
			record.Size = sizeText(each.SizeBytes)
		}
	}
	r.images[image.ID] = record
	return record, nil
}

// downloadProgress is that of the task while the image is on its way.
func (r *Reader) downloadProgress(ctx context.Context, imageCopy broker.ImageCopy) (int, error) {
	if imageCopy.State != broker.ImageDownloading || imageCopy.TaskID == nil {
		return imageCopy.Progress, nil
	}
	task, err := r.store.FindTask(ctx, *imageCopy.TaskID)
	if broker.Is(err, broker.NotFound) {
		return imageCopy.Progress, nil
	}
	if err != nil {
		return 0, broker.Wrap(err, "find the download's task")
	}
	return task.Progress, nil
}

// imageByID gives nil for an image that is gone.
func (r *Reader) imageByID(ctx context.Context, id int64) (*Image, error) {
	if known, found := r.images[id]; found {
		return known, nil
	}
	image, err := r.store.FindImage(ctx, id)
	if broker.Is(err, broker.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, broker.Wrap(err, "find image")
	}
	return r.Image(ctx, image)
}

// Optional is nil for an empty text.
func Optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
