package broker

import (
	"context"
	"encoding/json"
	"fmt"
)

// DeleteImageKind is the task that removes one copy of an image that was deleted.
const DeleteImageKind = "delete-image"

// DeleteImageData is all that the task knows: the image is forgotten already.
type DeleteImageData struct {
	// Volume is the hypervisor's name of the copy, or its path where ByDaemon.
	Volume   string `json:"volume"`
	ByDaemon bool   `json:"byDaemon"`
}

// ImageChange changes an image (AMS updateOs); nil = as it is. Where an image comes from can't be changed.
type ImageChange struct {
	ID                                                                   int64
	Name, FileName, Family, Distribution, Arch, URL, Checksum, Directory *string
	Source                                                               *ImageSource
	CloudInit, Disabled                                                  *bool
}

// ChangeImage changes an image. File name and folder stay while a node has it: they are how it is found there.
func (b *Broker) ChangeImage(ctx context.Context, change ImageChange) error {
	return b.store.Transact(ctx, func(tx Tx) error {
		image, err := tx.FindImage(ctx, change.ID)
		if err != nil {
			return named("id", err)
		}
		before := *image
		for _, text := range []struct{ wanted, into *string }{
			{change.Name, &image.Name}, {change.FileName, &image.FileName}, {change.Family, &image.Family},
			{change.Distribution, &image.Distribution}, {change.Arch, &image.Arch}, {change.URL, &image.URL},
			{change.Checksum, &image.Checksum}, {change.Directory, &image.Directory},
		} {
			if text.wanted != nil {
				*text.into = *text.wanted
			}
		}
		if change.CloudInit != nil {
			image.CloudInit = *change.CloudInit
		}
		if change.Disabled != nil {
			image.Disabled = *change.Disabled
		}
		if change.Source != nil && *change.Source != image.Source {
			return InvalidField("downType", "can't be changed")
		}
		if err := CheckImage(image); err != nil {
			return err
		}
		if err := foundStill(ctx, tx, &before, image); err != nil {
			return err
		}
		return tx.UpdateImage(ctx, image)
	})
}

func foundStill(ctx context.Context, tx Tx, before, after *Image) error {
	field := ""
	switch {
	case before.FileName != after.FileName:
		field = "fileName"
	case before.Directory != after.Directory:
		field = "path"
	default:
		return nil
	}
	copies, err := tx.ListImageCopies(ctx, before.ID)
	if err != nil {
		return err
	}
	for _, each := range copies {
		if each.State == ImageReady || each.State == ImageDownloading {
			failure := Because(Conflict, ReasonImageInUse, before.Name, fmt.Sprintf("node %d has it under this name", each.NodeID))
			failure.Field = field
			return failure
		}
	}
	return nil
}

// DeleteImage forgets an image and queues the removal of its copies: one task for each node, which waits for a node that is down.
// Copies that were put on the nodes by hand stay. Conflict with ReasonImageInUse while a machine runs on the image or a node
// downloads it.
func (b *Broker) DeleteImage(ctx context.Context, id int64, actor Actor) error {
	err := b.store.Transact(ctx, func(tx Tx) error {
		image, err := tx.FindImage(ctx, id)
		if err != nil {
			return named("osId", err)
		}
		machines, err := tx.CountImageVMs(ctx, id)
		if err != nil {
			return err
		}
		copies, err := tx.ListImageCopies(ctx, id)
		if err != nil {
			return err
		}
		use := ""
		if machines > 0 {
			use = fmt.Sprintf("%d virtual machines have it", machines)
		}
		for _, each := range copies {
			if each.State == ImageDownloading {
				use = fmt.Sprintf("node %d downloads it", each.NodeID)
			}
		}
		if use != "" {
			failure := Because(Conflict, ReasonImageInUse, image.Name, use)
			failure.Field = "osId"
			return failure
		}
		for _, each := range copies {
			if each.State != ImageReady || image.Source == ImageUploaded {
				continue
			}
			if err := b.queueImageRemoval(ctx, tx, each, actor); err != nil {
				return err
			}
		}
		return tx.DeleteImage(ctx, id)
	})
	if err == nil {
		b.queue.Wake()
	}
	return err
}

func (b *Broker) queueImageRemoval(ctx context.Context, tx Tx, imageCopy ImageCopy, actor Actor) error {
	node, err := tx.FindNode(ctx, imageCopy.NodeID)
	if err != nil {
		return err
	}
	data, err := json.Marshal(DeleteImageData{Volume: imageCopy.Volume, ByDaemon: imageCopy.ByDaemon})
	if err != nil {
		return Wrap(err, "describe the removal of an image")
	}
	now := b.now().UTC()
	return tx.InsertTask(ctx, &Task{
		Kind: DeleteImageKind, ClusterID: node.ClusterID, NodeID: node.ID, Data: data, State: TaskReady,
		Tenant: actor.APIKeyID, RequestedBy: actor.Name, RequestID: actor.RequestID,
		CreatedAt: now, UpdatedAt: now, RunAfter: now, Deadline: now.Add(b.queue.Deadline(DeleteImageKind)),
	})
}
