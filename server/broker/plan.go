package broker

import (
	"context"
	"time"
)

// Plan is a set of hardware that orders name by its id (AMS configure template). What it sets goes before what the order says.
type Plan struct {
	ID        int64     `json:"-"`
	CreatedAt time.Time `json:"-"`
	Name      string    `json:"name"`
	Hardware
}

// Hardware is the part of an order that a plan can set; nil and "" leave it to the order.
type Hardware struct {
	Sockets          *int       `json:"sockets,omitempty"`
	Cores            *int       `json:"cores,omitempty"`
	Threads          *int       `json:"threads,omitempty"`
	CPUPercent       *int       `json:"cpuPercent,omitempty"`
	CPUType          string     `json:"cpuType,omitempty"`
	Nested           *bool      `json:"nested,omitempty"`
	Devirtualization *bool      `json:"devirtualization,omitempty"`
	KVM              *bool      `json:"kvm,omitempty"`
	Arch             string     `json:"arch,omitempty"`
	ACPI             *bool      `json:"acpi,omitempty"`
	MemoryMB         *int       `json:"memoryMB,omitempty"`
	Storage          string     `json:"storage,omitempty"`
	SystemDiskGB     *int       `json:"systemDiskGB,omitempty"`
	DataDisks        []DataDisk `json:"dataDisks,omitempty"`
	// DiskMBps limits the system disk for reading and for writing; 0 = unlimited.
	DiskMBps      *int64 `json:"diskMBps,omitempty"`
	BandwidthMbps *int   `json:"bandwidthMbps,omitempty"`
	OnBoot        *bool  `json:"onBoot,omitempty"`
	// CPUModel and ModelGroup name hardware models; a group goes before a CPU model.
	CPUModel   *int64 `json:"cpuModel,omitempty"`
	ModelGroup *int64 `json:"modelGroup,omitempty"`
}

const maxPlanName = 100

// AddPlan stores a plan and sets its ID. What no order may say, no plan may: the field is named.
func (b *Broker) AddPlan(ctx context.Context, plan *Plan) error {
	if err := b.checkPlan(ctx, plan); err != nil {
		return err
	}
	plan.CreatedAt = b.now().UTC()
	return b.store.InsertPlan(ctx, plan)
}

// ChangePlan replaces a plan. Orders from now on get the new one; machines that exist stay as they are.
func (b *Broker) ChangePlan(ctx context.Context, plan *Plan) error {
	if err := b.checkPlan(ctx, plan); err != nil {
		return err
	}
	return planError(plan.ID, b.store.UpdatePlan(ctx, plan))
}

// DeletePlan removes a plan; machines that were ordered by it stay.
func (b *Broker) DeletePlan(ctx context.Context, id int64) error {
	return planError(id, b.store.DeletePlan(ctx, id))
}

func planError(id int64, err error) error {
	if !Is(err, NotFound) {
		return err
	}
	failure := Because(NotFound, ReasonPlanNotFound, id)
	failure.Field = "configureTemplateId"
	return failure
}

func (b *Broker) checkPlan(ctx context.Context, plan *Plan) error {
	if len(plan.Name) > maxPlanName {
		return InvalidField("name", "at most %d characters", maxPlanName)
	}
	var order OrderRequest
	plan.apply(&order)
	if _, err := b.specification(&order); err != nil {
		return err
	}
	return b.checkModels(ctx, order.CPUModel, order.ModelGroup)
}

// withPlan fills the order's plan in.
func (b *Broker) withPlan(ctx context.Context, request *OrderRequest) error {
	if request.PlanID == 0 {
		return nil
	}
	plan, err := b.store.FindPlan(ctx, request.PlanID)
	if err != nil {
		return planError(request.PlanID, err)
	}
	plan.apply(request)
	return nil
}

func (h *Hardware) apply(order *OrderRequest) {
	over(&order.Sockets, h.Sockets)
	over(&order.Cores, h.Cores)
	over(&order.Threads, h.Threads)
	over(&order.CPUPercent, h.CPUPercent)
	over(&order.Nested, h.Nested)
	over(&order.Devirtualization, h.Devirtualization)
	over(&order.KVM, h.KVM)
	over(&order.ACPI, h.ACPI)
	over(&order.MemoryMB, h.MemoryMB)
	over(&order.SystemDiskGB, h.SystemDiskGB)
	over(&order.BandwidthMbps, h.BandwidthMbps)
	over(&order.OnBoot, h.OnBoot)
	order.CPUType, order.Arch, order.Storage = firstOf(h.CPUType, order.CPUType), firstOf(h.Arch, order.Arch), firstOf(h.Storage, order.Storage)
	if h.DataDisks != nil {
		order.DataDisks = append([]DataDisk(nil), h.DataDisks...) // the order's own: storages are filled in
	}
	if h.DiskMBps != nil {
		order.IO.ReadMBps, order.IO.WriteMBps = *h.DiskMBps, *h.DiskMBps
	}
	if h.CPUModel != nil || h.ModelGroup != nil {
		order.CPUModel, order.ModelGroup = h.CPUModel, h.ModelGroup
	}
}

func over[T any](field **T, value *T) {
	if value != nil {
		*field = value
	}
}
