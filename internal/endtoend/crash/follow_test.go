package crash

import (
	"encoding/json"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/task"
)

// workflowSteps are the names of each workflow's steps, and which can be undone.
type workflowSteps map[string][]task.Step

// allSteps are read from the broker's own list, so that a new step is covered by itself.
func allSteps() workflowSteps {
	steps := workflowSteps{}
	for _, workflow := range task.NewWorkflows(nil, nil, broker.Rules{}, time.Now).All() {
		steps[workflow.Kind] = workflow.Steps
	}
	return steps
}

// disturbance may do something while the broker stands at a border, and lets it go or kills it.
type disturbance func(k knock, at place)

func undisturbed(k knock, _ place) { k.letGo() }

// onceAt disturbs the first time that the broker comes to a border. done tells whether it did.
func onceAt(border place, disturb func(k knock)) (disturbed disturbance, done *bool) {
	done = new(bool)
	return func(k knock, at place) {
		if at != border || *done {
			k.letGo()
			return
		}
		*done = true
		disturb(k)
	}, done
}

// follow lets the one task that was just ordered go from border to border until it has ended. It returns the task and all borders.
func (i *installation) follow(t *testing.T, disturb disturbance) (*broker.Task, []place) {
	t.Helper()
	var places []place
	times := map[place]int{}
	var id int64
	for {
		select {
		case arrived := <-i.gate.knocks:
			id = arrived.Task
			at := place{Step: i.workflows[arrived.Kind][arrived.Step].Name, Moment: arrived.Moment, Undo: arrived.Undo}
			times[at]++
			at.Time = times[at]
			places = append(places, at)
			disturb(arrived, at)
			if arrived.Moment == task.AfterCommit && arrived.State.Final() {
				return i.task(t, id), places
			}
		case <-i.server.ended:
			t.Fatalf("the broker ended by itself: %s", tail(i.server.file(".log")))
		case <-time.After(patience):
			text, _ := json.Marshal(i.task(t, id))
			t.Fatalf("the task does not end; it came to %v\n%s\n%s", places, text, tail(i.server.file(".log")))
		}
	}
}

func (i *installation) task(t *testing.T, id int64) *broker.Task {
	t.Helper()
	if id == 0 {
		t.Fatalf("no task began: %s", tail(i.server.file(".log")))
	}
	found, err := i.store.FindTask(t.Context(), id)
	check(t, err)
	return found
}
