package broker

import (
	"context"
)

// trafficActionSetting says what happens to a machine that has used up its traffic: "stop" or "none".
const trafficActionSetting = "traffic.over_limit"

// TrafficAction is what happens to a machine that has used up its traffic.
type TrafficAction string

const (
	// TrafficStop stops it (VMOverTraffic) until the next month, a larger quota, or none.
	TrafficStop TrafficAction = "stop"
	// TrafficIgnore counts only.
	TrafficIgnore TrafficAction = "none"
)

// OverTraffic reads the setting; TrafficStop where it was never set.
func (b *Broker) OverTraffic(ctx context.Context) (TrafficAction, error) {
	text, err := b.store.Setting(ctx, trafficActionSetting)
	if Is(err, NotFound) {
		return TrafficStop, nil
	}
	return TrafficAction(text), err
}

// SetOverTraffic stores the setting. With TrafficIgnore machines that are stopped for their traffic run again.
func (b *Broker) SetOverTraffic(ctx context.Context, action TrafficAction) error {
	if action != TrafficStop && action != TrafficIgnore {
		return InvalidField("overTraffic", "%q is none of stop, none", bounded(string(action)))
	}
	return b.store.SaveSetting(ctx, trafficActionSetting, string(action), false)
}

// SweepTraffic stops machines that have used up their traffic of the month, and starts those again that are not over it any more. A machine
// without a quota is never touched.
func (b *Broker) SweepTraffic(ctx context.Context) error {
	action, err := b.OverTraffic(ctx)
	if err != nil {
		return err
	}
	period := TrafficPeriod(b.now())
	for ctx.Err() == nil {
		over, lifted, err := b.store.TrafficDue(ctx, period, sweepBatch)
		if err != nil {
			return err
		}
		failures := b.sweepEach(ctx, lifted, func(ctx context.Context, tx Tx, vm *VM) error {
			return b.liftTraffic(ctx, tx, vm, period)
		})
		if action == TrafficStop {
			failures += b.sweepEach(ctx, over, func(ctx context.Context, tx Tx, vm *VM) error {
				return b.stopForTraffic(ctx, tx, vm, period)
			})
		} else {
			over = nil
		}
		if max(len(over), len(lifted)) < sweepBatch || failures > 0 {
			break
		}
	}
	if action == TrafficIgnore {
		return b.liftAllTraffic(ctx)
	}
	return nil
}

// liftAllTraffic starts what was stopped while the setting was another one.
func (b *Broker) liftAllTraffic(ctx context.Context) error {
	status := VMOverTraffic
	stopped, _, err := b.store.ListVMs(ctx, VMFilter{Status: &status}, Page{Number: 1, Size: sweepBatch})
	if err != nil {
		return err
	}
	ids := make([]int64, len(stopped))
	for i := range stopped {
		ids[i] = stopped[i].ID
	}
	b.sweepEach(ctx, ids, func(ctx context.Context, tx Tx, vm *VM) error { return b.startAfterTraffic(ctx, tx, vm) })
	return nil
}

// overTraffic tells whether a machine has used up its quota of a month.
func overTraffic(ctx context.Context, tx Tx, vm *VM, period int) (bool, error) {
	if vm.Spec.TrafficBytes <= 0 { // Unlimited, or nobody set one
		return false, nil
	}
	used, err := tx.Traffic(ctx, period, []int64{vm.ID})
	return used[vm.ID].In+used[vm.ID].Out >= vm.Spec.TrafficBytes, err
}

func (b *Broker) stopForTraffic(ctx context.Context, tx Tx, vm *VM, period int) error {
	over, err := overTraffic(ctx, tx, vm, period)
	if err != nil || !over || vm.Status != VMRunning || vm.RecycledAt != nil {
		return err
	}
	_, err = b.queuePower(ctx, tx, vm, PowerOverTraffic, VMStopping, sweeper(vm))
	return err
}

func (b *Broker) liftTraffic(ctx context.Context, tx Tx, vm *VM, period int) error {
	over, err := overTraffic(ctx, tx, vm, period)
	if err != nil || over {
		return err
	}
	return b.startAfterTraffic(ctx, tx, vm)
}

func (b *Broker) startAfterTraffic(ctx context.Context, tx Tx, vm *VM) error {
	if vm.Status != VMOverTraffic || vm.RecycledAt != nil {
		return nil
	}
	if vm.expiredAt(b.now()) {
		vm.Status, vm.StatusAt = VMStopped, b.now().UTC() // the sweeper expires it
		return tx.UpdateVM(ctx, vm)
	}
	_, err := b.queuePower(ctx, tx, vm, PowerStart, VMStarting, sweeper(vm))
	return err
}
