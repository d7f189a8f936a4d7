package task

import (
	"context"
	"path"
	"time"

	"gantry/server/broker"
	"gantry/server/fleet"
)

// deleteImage removes a node's copy of an image that was deleted. A node that does not answer is tried again for a week.
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
		return Outcome{}, driver.DeleteImage(ctx, node.Name, state.Volume)
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
