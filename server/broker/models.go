package broker

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CPUModel is what a guest's CPUID tells (AMS cpuInfo). Empty and nil fields leave the CPU type's own.
type CPUModel struct {
	ID        int64     `json:"-"`
	CreatedAt time.Time `json:"-"`
	// Name is the brand string, at most 48 bytes (CPUID leaves 0x80000002 to 0x80000004).
	Name     string `json:"name"`
	Family   *int   `json:"family"`
	Model    *int   `json:"model"`
	Stepping *int   `json:"stepping"`
	// Level and XLevel are the highest basic and extended CPUID leaf, e.g. "0xEC" and "0x8000001E".
	Level   string `json:"level"`
	XLevel  string `json:"xlevel"`
	Vendor  string `json:"vendor"` // 12 characters, e.g. GenuineIntel
	L3Cache *bool  `json:"l3Cache"`
}

// SMBIOSModel is a table of a guest's SMBIOS, see SMBIOSFields.
type SMBIOSModel struct {
	ID        int64             `json:"-"`
	CreatedAt time.Time         `json:"-"`
	Type      int               `json:"type"`
	Fields    map[string]string `json:"fields"`
	Info      string            `json:"info"`
}

// ModelGroup puts a CPU model and SMBIOS models together. It holds ids only: a model that changes, changes in all its groups.
type ModelGroup struct {
	ID        int64     `json:"-"`
	CreatedAt time.Time `json:"-"`
	CPUModel  int64     `json:"cpuModel"` // 0 = none
	SMBIOS    []int64   `json:"smbios"`
	Info      string    `json:"info"`
}

// SMBIOSFields are the fields of each type of table that QEMU can set (qemu(1), -smbios). The uuid of type 1 is not among them: it
// is our owner mark.
func SMBIOSFields() map[int][]string {
	return map[int][]string{
		0:  {"vendor", "version", "date", "release"},
		1:  {"manufacturer", "product", "version", "serial", "sku", "family"},
		2:  {"manufacturer", "product", "version", "serial", "asset", "location"},
		3:  {"manufacturer", "version", "serial", "asset", "sku"},
		4:  {"sock_pfx", "manufacturer", "version", "serial", "asset", "part"},
		17: {"loc_pfx", "bank", "manufacturer", "serial", "asset", "part"},
	}
}

var (
	leafPattern    = regexp.MustCompile(`^(0x[0-9a-fA-F]{1,8}|[0-9]{1,10})$`)
	releasePattern = regexp.MustCompile(`^[0-9]{1,3}\.[0-9]{1,3}$`)
)

const (
	maxBrandString = 48
	maxSMBIOSText  = 64
	maxInfo        = 500
	maxGroupTables = 16
)

func (m *CPUModel) check() error {
	if len(m.Name) > maxBrandString || !printable(m.Name) || strings.Contains(m.Name, ",") {
		return InvalidField("name", "at most %d printable ASCII characters, no comma: CPUID and QEMU take no more", maxBrandString)
	}
	for _, number := range []struct {
		field string
		value *int
		most  int
	}{{"family", m.Family, 0xff + 0xf}, {"model", m.Model, 0xff}, {"stepping", m.Stepping, 0xf}} { // as QEMU bounds them
		if _, err := within(number.field, number.value, 0, 0, number.most); err != nil {
			return err
		}
	}
	for field, leaf := range map[string]string{"level": m.Level, "xlevel": m.XLevel} {
		if leaf == "" {
			continue
		}
		if _, err := strconv.ParseUint(leaf, 0, 32); err != nil || !leafPattern.MatchString(leaf) {
			return InvalidField(field, "%q is not a CPUID leaf such as 0xEC", bounded(leaf))
		}
	}
	if m.Vendor != "" && (len(m.Vendor) != 12 || !printable(m.Vendor) || strings.Contains(m.Vendor, ",")) {
		return InvalidField("vendor", "must have 12 ASCII characters and no comma, e.g. GenuineIntel")
	}
	return nil
}

func (m *SMBIOSModel) check() error {
	known, found := SMBIOSFields()[m.Type]
	if !found {
		return InvalidField("type", "must be 0, 1, 2, 3, 4 or 17")
	}
	if len(m.Fields) == 0 {
		return InvalidField("model", "is empty")
	}
	for name, value := range m.Fields {
		field := "model." + bounded(name)
		switch {
		case !slices.Contains(known, name):
			return InvalidField(field, "tables of type %d have %s", m.Type, strings.Join(known, ", "))
		case value == "" || len(value) > maxSMBIOSText || !printable(value):
			return InvalidField(field, "1 to %d printable ASCII characters", maxSMBIOSText)
		case name == "release" && !releasePattern.MatchString(value):
			return InvalidField(field, "must be two numbers such as 1.2")
		}
	}
	return checkInfo(m.Info)
}

func checkInfo(info string) error {
	if len(info) > maxInfo {
		return InvalidField("info", "at most %d bytes", maxInfo)
	}
	return nil
}

// SaveCPUModel adds a model (ID 0) or replaces one.
func (b *Broker) SaveCPUModel(ctx context.Context, model *CPUModel) error {
	if err := model.check(); err != nil {
		return err
	}
	if model.ID != 0 {
		return modelError("id", "CPU model", model.ID, b.store.UpdateCPUModel(ctx, model))
	}
	model.CreatedAt = b.now().UTC()
	return b.store.InsertCPUModel(ctx, model)
}

// SaveSMBIOSModel adds a model (ID 0) or replaces one.
func (b *Broker) SaveSMBIOSModel(ctx context.Context, model *SMBIOSModel) error {
	if err := model.check(); err != nil {
		return err
	}
	if model.ID != 0 {
		return modelError("id", "SMBIOS model", model.ID, b.store.UpdateSMBIOSModel(ctx, model))
	}
	model.CreatedAt = b.now().UTC()
	return b.store.InsertSMBIOSModel(ctx, model)
}

// SaveModelGroup adds a group (ID 0) or replaces one. Its models must exist, at most one of each SMBIOS type.
func (b *Broker) SaveModelGroup(ctx context.Context, group *ModelGroup) error {
	if err := checkInfo(group.Info); err != nil {
		return err
	}
	if group.CPUModel == 0 && len(group.SMBIOS) == 0 {
		return InvalidField("cpuModel", "a group has a CPU model or SMBIOS models")
	}
	if len(group.SMBIOS) > maxGroupTables {
		return InvalidField("smbiosModel", "at most %d models", maxGroupTables)
	}
	return b.store.Transact(ctx, func(tx Tx) error {
		if _, err := groupHardware(ctx, tx, group); err != nil {
			return err
		}
		if group.ID != 0 {
			return modelError("id", "model group", group.ID, tx.UpdateModelGroup(ctx, group))
		}
		group.CreatedAt = b.now().UTC()
		return tx.InsertModelGroup(ctx, group)
	})
}

// DeleteCPUModel removes a model; Conflict while a group has it.
func (b *Broker) DeleteCPUModel(ctx context.Context, id int64) error {
	return b.deleteModel(ctx, id, "CPU model", func(group *ModelGroup) bool { return group.CPUModel == id }, Tx.DeleteCPUModel)
}

// DeleteSMBIOSModel removes a model; Conflict while a group has it.
func (b *Broker) DeleteSMBIOSModel(ctx context.Context, id int64) error {
	return b.deleteModel(ctx, id, "SMBIOS model", func(group *ModelGroup) bool { return slices.Contains(group.SMBIOS, id) }, Tx.DeleteSMBIOSModel)
}

// DeleteModelGroup removes a group; machines that were ordered with it stay as they are.
func (b *Broker) DeleteModelGroup(ctx context.Context, id int64) error {
	return modelError("id", "model group", id, b.store.DeleteModelGroup(ctx, id))
}

func (b *Broker) deleteModel(ctx context.Context, id int64, noun string, has func(*ModelGroup) bool, remove func(Tx, context.Context, int64) error) error {
	return b.store.Transact(ctx, func(tx Tx) error {
		groups, err := tx.AllModelGroups(ctx)
		if err != nil {
			return err
		}
		for i := range groups {
			if has(&groups[i]) {
				failure := Errorf(Conflict, "model group %d has %s %d: take it out first", groups[i].ID, noun, id)
				failure.Field = "id"
				return failure
			}
		}
		return modelError("id", noun, id, remove(tx, ctx, id))
	})
}

// modelError names the field that a model which does not exist was named in.
func modelError(field, noun string, id int64, err error) error {
	if !Is(err, NotFound) {
		return err
	}
	return &Error{Kind: NotFound, Field: field, Detail: fmt.Sprintf("%s %d does not exist", noun, id)}
}

// GuestHardware is what models make of a guest, read at the moment of use.
type GuestHardware struct {
	CPU    *CPUModel
	SMBIOS []SMBIOSModel
}

// checkModels tells whether the models that an order names exist.
func (b *Broker) checkModels(ctx context.Context, cpuModel, modelGroup *int64) error {
	_, err := ReadHardware(ctx, b.store, cpuModel, modelGroup)
	return err
}

// ReadHardware reads the models that an order named; nil and 0 name none, and a group goes before a CPU model.
func ReadHardware(ctx context.Context, tx Tx, cpuModel, modelGroup *int64) (GuestHardware, error) {
	if group := given(modelGroup, 0); group != 0 {
		found, err := tx.FindModelGroup(ctx, group)
		if err != nil {
			return GuestHardware{}, modelError("modelGroup", "model group", group, err)
		}
		return groupHardware(ctx, tx, found)
	}
	if model := given(cpuModel, 0); model != 0 {
		return groupHardware(ctx, tx, &ModelGroup{CPUModel: model})
	}
	return GuestHardware{}, nil
}

func groupHardware(ctx context.Context, tx Tx, group *ModelGroup) (hardware GuestHardware, err error) {
	if group.CPUModel != 0 {
		if hardware.CPU, err = tx.FindCPUModel(ctx, group.CPUModel); err != nil {
			return hardware, modelError("cpuModel", "CPU model", group.CPUModel, err)
		}
	}
	types := map[int]bool{}
	for _, id := range group.SMBIOS {
		model, err := tx.FindSMBIOSModel(ctx, id)
		if err != nil {
			return hardware, modelError("smbiosModel", "SMBIOS model", id, err)
		}
		if types[model.Type] {
			return hardware, InvalidField("smbiosModel", "two tables of type %d: a guest has one", model.Type)
		}
		types[model.Type] = true
		hardware.SMBIOS = append(hardware.SMBIOS, *model)
	}
	return hardware, nil
}

// NeedsArguments tells that a hypervisor has to be given raw QEMU arguments: the system table (type 1) it can set by itself.
func (h GuestHardware) NeedsArguments() bool {
	return h.CPU != nil || slices.ContainsFunc(h.SMBIOS, func(model SMBIOSModel) bool { return model.Type != 1 })
}

// chooseModels checks the models that an order names, and that the cluster can make them.
func (b *Broker) chooseModels(ctx context.Context, request OrderRequest, plan *orderPlan) error {
	hardware, err := ReadHardware(ctx, b.store, request.CPUModel, request.ModelGroup)
	if err != nil {
		return err
	}
	if hardware.NeedsArguments() && !b.fleet.Supports(ctx, plan.cluster.ID, CapabilityArguments) {
		failure := Because(Unsupported, ReasonUnsupported, "CPU models and SMBIOS tables other than type 1 are QEMU arguments, "+
			"which Proxmox VE takes from root@pam with its password only, not from API tokens or other users")
		failure.Field = "cpuModel"
		if given(request.ModelGroup, 0) != 0 {
			failure.Field = "modelGroup"
		}
		return failure
	}
	plan.spec.CPUModel, plan.spec.ModelGroup = positive(request.CPUModel), positive(request.ModelGroup)
	plan.spec.PlanID = positive(&request.PlanID)
	return nil
}

// positive makes 0, which names nothing, nil.
func positive(id *int64) *int64 {
	if id == nil || *id == 0 {
		return nil
	}
	return id
}
