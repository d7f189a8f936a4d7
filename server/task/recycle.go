package task

import (
	"context"
	"time"

	"gantry/server/broker"
)

// recycle stops a guest and puts its VM into the recycle bin.
func (w *Workflows) recycle() Workflow {
	return Workflow{
		Kind: broker.RecycleKind, Deadline: 15 * time.Minute,
		Title: map[broker.Language]string{broker.English: "Move to the recycle bin", broker.Chinese: "移入回收站"},
		Steps: []Step{
			{Name: "press", Weight: 4, Do: w.press, Undo: w.lookAtGuest,
				Title: map[broker.Language]string{broker.English: "Stop the guest", broker.Chinese: "停止虚拟机"}},
			{Name: "verify", Do: w.verifyPower,
				Title: map[broker.Language]string{broker.English: "See the guest's state", broker.Chinese: "确认状态"}},
		},
		Finish: func(ctx context.Context, tx broker.Tx, run *Run, state broker.TaskState) error {
			if state != broker.TaskDone {
				return w.settleAsSeen(ctx, tx, run, state)
			}
			var own broker.RecycleData
			if err := run.Load(&own); err != nil {
				return err
			}
			return w.settle(ctx, tx, run, broker.VMStopped, func(vm *broker.VM) {
				now := w.now().UTC()
				end := now.AddDate(0, 0, own.Days)
				vm.RecycledAt, vm.DestroyAt, vm.RecycledStatus = &now, &end, own.Before
			})
		},
	}
}
