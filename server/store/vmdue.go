package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"gantry/server/broker"
)

// retrySweep is how long a VM whose last task failed is left alone.
const retrySweep = 10 * time.Minute

func (s *session) DueVMs(ctx context.Context, now time.Time, count int) (due broker.DueVMs, err error) {
	at := fromTime(now)
	err = s.read(ctx, "look for virtual machines whose time has come", func(db *gorm.DB) error {
		idle := func(column string) *gorm.DB {
			// What failed is tried again after a while only.
			return db.Model(&vmRow{}).Where("task_id IS NULL AND (last_error = '' OR status_at <= ?)", fromTime(now.Add(-retrySweep))).
				Order(column).Limit(count)
		}
		settled := []broker.VMStatus{broker.VMExpired, broker.VMPaused, broker.VMFailed}
		err := idle("expires_at").Where("deleted_at = 0 AND expires_at <= ? AND status NOT IN ?", at, settled).Pluck("id", &due.Expired).Error
		if err != nil {
			return err
		}
		err = idle("id").Where("deleted_at = 0 AND status = ? AND (expires_at IS NULL OR expires_at > ?)", broker.VMExpired, at).
			Pluck("id", &due.Renewed).Error
		if err != nil {
			return err
		}
		return idle("destroy_at").Where("deleted_at = ? AND destroy_at <= ?", recycled, at).Pluck("id", &due.Destroyed).Error
	})
	return due, err
}
