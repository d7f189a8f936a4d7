package store

import (
	"context"
	"encoding/json"
	"strings"

	"gorm.io/gorm"

	"gantry/server/broker"
)

// historyLine is a broker.TaskStep as it is kept: a line of JSON in its task's row. A table of its own would cost every step border
// a second statement, and with it a transaction of four round trips instead of one statement.
type historyLine struct {
	Name      string `json:"name"`
	Undo      bool   `json:"undo,omitempty"`
	State     string `json:"state"`
	Note      string `json:"note,omitempty"`
	Operation string `json:"operation,omitempty"`
	StartedAt micros `json:"startedAt"`
	EndedAt   micros `json:"endedAt"`
}

// historyText is "" for no line.
func historyText(step *broker.TaskStep) (string, error) {
	if step == nil {
		return "", nil
	}
	text, err := json.Marshal(historyLine{
		Name: step.Name, Undo: step.Undo, State: step.State, Note: step.Note, Operation: step.Operation,
		StartedAt: fromTime(step.StartedAt), EndedAt: fromTime(step.EndedAt),
	})
	return string(text) + "\n", err
}

func (s *session) ListTaskSteps(ctx context.Context, task int64) (steps []broker.TaskStep, err error) {
	err = s.read(ctx, "read a task's history", func(db *gorm.DB) error {
		var row struct{ History string }
		if err := first(db.Table("tasks").Select("history").Where("id = ?", task), &row, "task", task); err != nil {
			return err
		}
		steps = nil
		for text := range strings.Lines(row.History) {
			var line historyLine
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				return err
			}
			steps = append(steps, broker.TaskStep{
				TaskID: task, Number: len(steps) + 1, Name: line.Name, Undo: line.Undo, State: line.State, Note: line.Note,
				Operation: line.Operation, StartedAt: line.StartedAt.time(), EndedAt: line.EndedAt.time(),
			})
		}
		return nil
	})
	return steps, err
}
