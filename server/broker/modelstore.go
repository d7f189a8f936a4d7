package broker

import "context"

// ModelStore keeps plans and hardware models. Inserts set ID; the other methods are NotFound for an unknown id. Lists are in the
// order of the ids.
type ModelStore interface {
	InsertPlan(ctx context.Context, plan *Plan) error
	UpdatePlan(ctx context.Context, plan *Plan) error
	DeletePlan(ctx context.Context, id int64) error
	FindPlan(ctx context.Context, id int64) (*Plan, error)
	ListPlans(ctx context.Context, page Page) ([]Plan, int64, error)

	InsertCPUModel(ctx context.Context, model *CPUModel) error
	UpdateCPUModel(ctx context.Context, model *CPUModel) error
	DeleteCPUModel(ctx context.Context, id int64) error
	FindCPUModel(ctx context.Context, id int64) (*CPUModel, error)
	ListCPUModels(ctx context.Context, page Page) ([]CPUModel, int64, error)

	InsertSMBIOSModel(ctx context.Context, model *SMBIOSModel) error
	UpdateSMBIOSModel(ctx context.Context, model *SMBIOSModel) error
	DeleteSMBIOSModel(ctx context.Context, id int64) error
	FindSMBIOSModel(ctx context.Context, id int64) (*SMBIOSModel, error)
	ListSMBIOSModels(ctx context.Context, page Page) ([]SMBIOSModel, int64, error)

	InsertModelGroup(ctx context.Context, group *ModelGroup) error
	UpdateModelGroup(ctx context.Context, group *ModelGroup) error
	DeleteModelGroup(ctx context.Context, id int64) error
	FindModelGroup(ctx context.Context, id int64) (*ModelGroup, error)
	ListModelGroups(ctx context.Context, page Page) ([]ModelGroup, int64, error)

	AllModelGroups(ctx context.Context) ([]ModelGroup, error)
}
