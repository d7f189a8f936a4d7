package stack

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// imageName is what the demo calls its image.
const imageName = "gantry-demo-linux.qcow2"

// Order is an accepted order.
type Order struct {
	HostID int64 `json:"hostid"`
	VMID   int   `json:"vmid"`
	TaskID int64 `json:"taskId"`
	// Accepted is how long the answer took.
	Accepted time.Duration `json:"-"`
}

// Place orders a machine as a billing system does.
func (s *Stack) Place(ctx context.Context, node int64) (Order, error) {
	body := map[string]any{
		"nodeid": node, "os": imageName, "cores": 1, "memory": 256, "systemDiskSize": 1, "storage": "auto",
		"username": "root", "password": "gantry-bench", "onBoot": 0,
	}
	var order Order
	begun := time.Now()
	err := s.API.Call(ctx, http.MethodPost, "/api/v1/pve/cerateVM", body, &order)
	order.Accepted = time.Since(begun)
	return order, err
}

// Await waits until a task is done, asking every interval, and gives the time at which the broker says that it ended (to the
// millisecond). A task that ends otherwise is an error.
func (s *Stack) Await(ctx context.Context, task int64, interval time.Duration) (time.Time, error) {
	for {
		var state struct {
			State      string `json:"state"`
			Error      string `json:"error"`
			FinishTime *int64 `json:"finishTime"`
		}
		if err := s.API.Call(ctx, http.MethodGet, fmt.Sprintf("/api/v1/pve/getTask?id=%d", task), nil, &state); err != nil {
			return time.Time{}, err
		}
		switch {
		case state.State == "done" && state.FinishTime != nil:
			return time.UnixMilli(*state.FinishTime), nil
		case state.State == "undone" || state.State == "stuck":
			return time.Time{}, fmt.Errorf("task %d is %s: %s", task, state.State, state.Error)
		}
		if err := Pause(ctx, interval); err != nil {
			return time.Time{}, fmt.Errorf("wait for task %d, which is %s: %w", task, state.State, err)
		}
	}
}

// Delete removes a machine and waits until it is gone.
func (s *Stack) Delete(ctx context.Context, host int64) error {
	var task struct {
		TaskID int64 `json:"taskId"`
	}
	if err := s.API.Call(ctx, http.MethodDelete, fmt.Sprintf("/api/v1/pve/forceDelete/%d", host), nil, &task); err != nil {
		return err
	}
	_, err := s.Await(ctx, task.TaskID, 20*time.Millisecond)
	return err
}
