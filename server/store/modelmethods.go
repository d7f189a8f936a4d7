package store

import (
	"context"

	"gantry/server/broker"
)

func (s *session) InsertPlan(ctx context.Context, plan *broker.Plan) error {
	return plans.insert(ctx, s, plan, plan.CreatedAt)
}

func (s *session) UpdatePlan(ctx context.Context, plan *broker.Plan) error {
	return plans.update(ctx, s, plan.ID, plan)
}

func (s *session) DeletePlan(ctx context.Context, id int64) error { return plans.delete(ctx, s, id) }

func (s *session) FindPlan(ctx context.Context, id int64) (*broker.Plan, error) {
	return plans.find(ctx, s, id)
}

func (s *session) ListPlans(ctx context.Context, page broker.Page) ([]broker.Plan, int64, error) {
	return plans.list(ctx, s, page)
}

func (s *session) InsertCPUModel(ctx context.Context, model *broker.CPUModel) error {
	return cpuModels.insert(ctx, s, model, model.CreatedAt)
}

func (s *session) UpdateCPUModel(ctx context.Context, model *broker.CPUModel) error {
	return cpuModels.update(ctx, s, model.ID, model)
}

func (s *session) DeleteCPUModel(ctx context.Context, id int64) error {
	return cpuModels.delete(ctx, s, id)
}

func (s *session) FindCPUModel(ctx context.Context, id int64) (*broker.CPUModel, error) {
	return cpuModels.find(ctx, s, id)
}

func (s *session) ListCPUModels(ctx context.Context, page broker.Page) ([]broker.CPUModel, int64, error) {
	return cpuModels.list(ctx, s, page)
}

func (s *session) InsertSMBIOSModel(ctx context.Context, model *broker.SMBIOSModel) error {
	return smbiosModels.insert(ctx, s, model, model.CreatedAt)
}

func (s *session) UpdateSMBIOSModel(ctx context.Context, model *broker.SMBIOSModel) error {
	return smbiosModels.update(ctx, s, model.ID, model)
}

func (s *session) DeleteSMBIOSModel(ctx context.Context, id int64) error {
	return smbiosModels.delete(ctx, s, id)
}

func (s *session) FindSMBIOSModel(ctx context.Context, id int64) (*broker.SMBIOSModel, error) {
	return smbiosModels.find(ctx, s, id)
}

func (s *session) ListSMBIOSModels(ctx context.Context, page broker.Page) ([]broker.SMBIOSModel, int64, error) {
	return smbiosModels.list(ctx, s, page)
}

func (s *session) InsertModelGroup(ctx context.Context, group *broker.ModelGroup) error {
	return modelGroups.insert(ctx, s, group, group.CreatedAt)
}

func (s *session) UpdateModelGroup(ctx context.Context, group *broker.ModelGroup) error {
	return modelGroups.update(ctx, s, group.ID, group)
}

func (s *session) DeleteModelGroup(ctx context.Context, id int64) error {
	return modelGroups.delete(ctx, s, id)
}

func (s *session) FindModelGroup(ctx context.Context, id int64) (*broker.ModelGroup, error) {
	return modelGroups.find(ctx, s, id)
}

func (s *session) ListModelGroups(ctx context.Context, page broker.Page) ([]broker.ModelGroup, int64, error) {
	return modelGroups.list(ctx, s, page)
}

func (s *session) AllModelGroups(ctx context.Context) ([]broker.ModelGroup, error) {
	groups, _, err := modelGroups.list(ctx, s, broker.Page{})
	return groups, err
}
