package task

import (
	"context"
	"fmt"
	"path"
	"slices"
	"time"

	"gantry/internal/controlledclient"
	"gantry/server/broker"
	"gantry/server/fleet"
	"gantry/server/hypervisor"
)

// downloadState is what a download remembers.
type downloadState struct {
	broker.DownloadImageData
	Volume    string `json:"volume,omitempty"`
	ByDaemon  bool   `json:"byDaemon,omitempty"`
	SizeBytes int64  `json:"sizeBytes,omitempty"`
	// Asked tells that the daemon was asked to begin anew once.
	Asked bool `json:"asked,omitempty"`
	// Checksum is what the daemon is asked for: the same at each question.
	Checksum string `json:"checksum,omitempty"`
}

func (w *Workflows) downloadImage() Workflow {
	return Workflow{
		Kind: broker.DownloadImageKind, Deadline: 6 * time.Hour,
		Title: map[broker.Language]string{broker.English: "Download image", broker.Chinese: "下载镜像"},
		Steps: []Step{
			{Name: "fetch", Do: w.fetchImage,
				Title: map[broker.Language]string{broker.English: "Bring the image to the node", broker.Chinese: "将镜像下载到节点"}},
		},
		Finish: func(ctx context.Context, tx broker.Tx, run *Run, state broker.TaskState) error {
			var own downloadState
			if err := run.Load(&own); err != nil {
				return err
			}
			imageCopy := &broker.ImageCopy{
				ImageID: own.ImageID, NodeID: run.Task.NodeID, State: broker.ImageFailed, Error: run.Task.Error, UpdatedAt: w.now().UTC(),
			}
			if state == broker.TaskDone {
				imageCopy.State, imageCopy.Progress, imageCopy.Error = broker.ImageReady, 100, ""
				imageCopy.Volume, imageCopy.ByDaemon, imageCopy.SizeBytes = own.Volume, own.ByDaemon, own.SizeBytes
			}
			return tx.SaveImageCopy(ctx, imageCopy)
		},
	}
}

// fetchImage looks for the image on the node, and has it fetched when it is not there: by the hypervisor's API where that can, else
// by the node's daemon.
func (w *Workflows) fetchImage(ctx context.Context, run *Run) (Outcome, error) {
	if ended, err := run.Ended(); ended && err != nil && !broker.Is(err, broker.NotFound) {
		return Outcome{}, err
	}
	var state downloadState
	if err := run.Load(&state); err != nil {
		return Outcome{}, err
	}
	image, err := w.store.FindImage(ctx, state.ImageID)
	if err != nil {
		return Outcome{}, err
	}
	node, err := w.store.FindNode(ctx, run.Task.NodeID)
	if err != nil {
		return Outcome{}, err
	}
	driver, err := w.hypervisors.Driver(ctx, node.ClusterID)
	if err != nil {
		return Outcome{}, err
	}
	found, err := driver.FindImage(ctx, node.Name, image.FileName)
	switch {
	case err == nil:
		state.Volume, state.SizeBytes = found.Volume, found.SizeBytes
		return Outcome{State: state}, nil
	case broker.Is(err, broker.Unsupported):
		return w.fetchByDaemon(ctx, node, image, state, err)
	case !broker.Is(err, broker.NotFound):
		return Outcome{}, err
	case image.Source == broker.ImageUploaded:
		return Outcome{}, broker.Errorf(broker.NotFound, "%s is not on node %s yet: upload it to a storage with content type \"import\"", image.FileName, node.Name)
	}
	if operation, again, err := w.retakeFetch(ctx, run, driver, node); again || err != nil {
		return wait(operation, err)
	}
	sum, err := w.checksum(ctx, image)
	if err != nil {
		return Outcome{}, err
	}
	return wait(driver.FetchImage(ctx, node.Name, hypervisor.ImageFetch{FileName: image.FileName, URL: image.URL, Checksum: sum}))
}

// retakeFetch finds the download that an earlier attempt began and whose reply was lost.
func (w *Workflows) retakeFetch(ctx context.Context, run *Run, driver hypervisor.Driver, node *broker.Node) (hypervisor.Operation, bool, error) {
	if run.Attempt <= 1 {
		return hypervisor.Operation{}, false, nil
	}
	operation, err := driver.FindOperation(ctx, hypervisor.GuestRef{Node: node.Name}, hypervisor.OperationFetch, run.Since)
	if broker.Is(err, broker.NotFound) || (err == nil && operation == run.Operation) {
		return hypervisor.Operation{}, false, nil
	}
	if err != nil {
		return hypervisor.Operation{}, false, err
	}
	// What has ended left the image, or nothing; and another image's download is not this one's.
	state, err := driver.OperationState(ctx, operation)
	if broker.Is(err, broker.NotFound) || (err == nil && state.Finished) {
		return hypervisor.Operation{}, false, nil
	}
	if err != nil {
		return hypervisor.Operation{}, false, err
	}
	waiting, err := w.store.WaitingTasks(ctx, node.ClusterID)
	for _, each := range waiting {
		if each.Operation == operation.ID {
			return hypervisor.Operation{}, false, nil
		}
	}
	return operation, err == nil, err
}

// fetchByDaemon is for nodes whose API can't, and cause says why.
func (w *Workflows) fetchByDaemon(ctx context.Context, node *broker.Node, image *broker.Image, state downloadState, cause error) (Outcome, error) {
	daemon, err := w.hypervisors.Daemon(ctx, node.ID)
	if broker.Is(err, broker.Unsupported) {
		return Outcome{}, broker.Errorf(broker.Unsupported, "node %s has no `gantry controlled`, and its API can't import images: %s", node.Name, broker.DetailOf(cause))
	}
	if err != nil {
		return Outcome{}, err
	}
	state.ByDaemon, state.Volume = true, path.Join(image.Directory, image.FileName)
	if image.Source == broker.ImageUploaded {
		files, err := daemon.ListFiles(ctx, image.Directory)
		if err != nil {
			return Outcome{}, fleet.DaemonError(err)
		}
		if !slices.Contains(files, image.FileName) {
			return Outcome{}, broker.Errorf(broker.NotFound, "%s is not on node %s yet", state.Volume, node.Name)
		}
		return Outcome{State: state}, nil
	}
	if !state.Asked {
		if state.Checksum, err = w.checksum(ctx, image); err != nil {
			return Outcome{}, err
		}
	}
	download, err := daemon.Download(ctx, controlledclient.DownloadOrder{
		URL: image.URL, Folder: image.Directory, File: image.FileName, Checksum: state.Checksum, Restart: !state.Asked,
	})
	if err != nil {
		return Outcome{}, fleet.DaemonError(err)
	}
	state.Asked = true
	switch download.State {
	case controlledclient.DownloadDone:
		state.SizeBytes = download.Bytes
		return Outcome{State: state}, nil
	case controlledclient.DownloadFailed:
		return Outcome{}, broker.Errorf(broker.Failed, "the node could not download %s: %s", image.FileName, download.Error)
	}
	return Outcome{State: state, After: time.Second, Note: fmt.Sprintf("downloading %s", download.Progress)}, nil
}
