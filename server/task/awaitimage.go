package task

import (
	"context"
	"time"

	"gantry/server/broker"
)

// imagePause is how long a create waits between looks at the download that its order began.
const imagePause = time.Second

// awaitImage tells whether a create has to wait for its image: an order that was placed on a node without it came with its download.
func (w *Workflows) awaitImage(ctx context.Context, vm *broker.VM) (Outcome, bool, error) {
	imageCopy, err := w.store.FindImageCopy(ctx, vm.ImageID, vm.NodeID)
	if err != nil {
		return Outcome{}, false, broker.Wrap(err, "find the image's copy on the node")
	}
	switch imageCopy.State {
	case broker.ImageDownloading:
		return Outcome{After: imagePause, Note: "waiting for the image to be downloaded to the node"}, true, nil
	case broker.ImageFailed:
		return Outcome{}, false, broker.Errorf(broker.Failed, "the image could not be downloaded to the node: %.300s", imageCopy.Error)
	}
	return Outcome{}, false, nil
}
