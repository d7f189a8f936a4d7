package task

import (
	"context"
	"path"
	"time"

	"gantry/server/broker"
	"gantry/server/fleet"
)

// deleteImage removes a node's copy of an image that was deleted. A node that does not answer is tried again for a week,
// and so is an image that disks stand on.
func (w *Workflows) deleteImage() Workflow {
	return Workflow{
		Kind: broker.DeleteImageKind, Deadline: 7 * 24 * time.Hour,
		Title: map[broker.Language]string{broker.English: "Remove image from node", broker.Chinese: "从节点删除镜像"},
		Steps: []Step{
			{Name: "remove", Do: w.removeImage,
				Title: map[broker.Language]string{broker.English: "Remove the image's file", broker.Chinese: "删除镜像文件"}},
		},
	}
}

// imageInUsePause is how long an image stays that disks stand on, before it is looked at again.
const imageInUsePause = 10 * time.Minute

// removeImage may run again: a file that is gone is removed.
func (w *Workflows) removeImage(ctx context.Context, run *Run) (Outcome, error) {
	var state broker.DeleteImageData
	if err := run.Load(&state); err != nil {
		return Outcome{}, err
	}
	node, err := w.store.FindNode(ctx, run.Task.NodeID)
	if broker.Is(err, broker.NotFound) {
		return Outcome{Note: "the node was removed"}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	if !state.ByDaemon {
		driver, err := w.hypervisors.Driver(ctx, node.ClusterID)
		if err != nil {
			return Outcome{}, err
		}
		err = driver.DeleteImage(ctx, node.Name, state.Volume)
		if broker.Is(err, broker.Conflict) { // disks stand on it: those of a machine that is being deleted, or that others made
			return Outcome{After: imageInUsePause, Note: broker.DetailOf(err)}, nil
		}
		return Outcome{}, err
	}
	daemon, err := w.hypervisors.Daemon(ctx, node.ID)
	if err != nil {
		return Outcome{}, err
	}
	err = daemon.DeleteFile(ctx, path.Dir(state.Volume), path.Base(state.Volume))
	if err == nil {
		return Outcome{}, nil
	}
	if err = fleet.DaemonError(err); broker.Is(err, broker.NotFound) {
		return Outcome{Note: "the file was gone already"}, nil
	}
	return Outcome{}, err
}
