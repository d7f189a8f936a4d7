package store_test

import (
	"reflect"
	"testing"

	"gantry/server/broker"
	"gantry/server/store"
)

func TestPlansAndModels(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		plan := &broker.Plan{Name: "小", CreatedAt: start, Hardware: broker.Hardware{Cores: new(2), CPUType: "host", DataDisks: []broker.DataDisk{{Number: 1, SizeGB: 5}}}}
		check(t, s.InsertPlan(ctx, plan))
		if found, err := s.FindPlan(ctx, plan.ID); err != nil || !reflect.DeepEqual(found, plan) {
			t.Errorf("found %+v, want %+v, %v", found, plan, err)
		}
		for range 2 { // MySQL does not count rows that stay as they are
			plan.Name = "large"
			check(t, s.UpdatePlan(ctx, plan))
		}
		check(t, s.InsertPlan(ctx, &broker.Plan{Name: "other", CreatedAt: start}))
		if list, total, err := s.ListPlans(ctx, broker.Page{Number: 1, Size: 1}); err != nil || total != 2 || len(list) != 1 || list[0].Name != "large" {
			t.Errorf("list: %d, %+v, %v", total, list, err)
		}
		group := &broker.ModelGroup{CPUModel: 7, SMBIOS: []int64{1, 2}, CreatedAt: start}
		check(t, s.InsertModelGroup(ctx, group))
		if all, err := s.AllModelGroups(ctx); err != nil || len(all) != 1 || !reflect.DeepEqual(&all[0], group) {
			t.Errorf("groups: %+v, %v", all, err)
		}
		check(t, s.InsertCPUModel(ctx, &broker.CPUModel{Name: "x", CreatedAt: start}))
		check(t, s.InsertSMBIOSModel(ctx, &broker.SMBIOSModel{Type: 1, Fields: map[string]string{"product": "x"}, CreatedAt: start}))
		check(t, s.DeletePlan(ctx, plan.ID))
		for what, err := range map[string]error{
			"update": s.UpdatePlan(ctx, plan), "delete": s.DeletePlan(ctx, plan.ID), "delete another": s.DeleteCPUModel(ctx, 99),
		} {
			if !broker.Is(err, broker.NotFound) {
				t.Errorf("%s what is gone: %v", what, err)
			}
		}
	})
}
