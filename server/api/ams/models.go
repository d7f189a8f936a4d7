package ams

import (
	"sort"
	"strconv"
	"strings"

	"gantry/server/api/route"
	"gantry/server/broker"
)

// Done is the data of calls whose documentation shows a sentence: it is compared by clients, so it is the same in every language.
type Done string

const (
	Added   Done = "添加成功"
	Changed Done = "修改成功"
	Deleted Done = "删除成功"
)

// CPUModelRequest is a CPU model; what is not sent stays as the CPU type has it.
type CPUModelRequest struct {
	ID       int64  `json:"id" rule:"min=0" doc:"for updates only"`
	Name     string `json:"name" rule:"max=48" doc:"brand string"`
	Family   *int   `json:"family" doc:"CPUID family"`
	Model    *int   `json:"model" doc:"CPUID model"`
	Stepping *int   `json:"stepping" doc:"CPUID stepping"`
	Level    string `json:"level" rule:"max=12" doc:"highest basic leaf, e.g. 0xEC"`
	XLevel   string `json:"xlevel" rule:"max=12" doc:"highest extended leaf, e.g. 0x8000001E"`
	Vendor   string `json:"vendor" rule:"max=12" doc:"12 characters, e.g. GenuineIntel"`
	L3Cache  *bool  `json:"l3Cache" doc:"show an L3 cache"`
}

// CPUModelOf is the request as the domain takes it.
func (r *CPUModelRequest) CPUModelOf() *broker.CPUModel {
	return &broker.CPUModel{
		ID: r.ID, Name: r.Name, Family: r.Family, Model: r.Model, Stepping: r.Stepping, Level: r.Level, XLevel: r.XLevel,
		Vendor: r.Vendor, L3Cache: r.L3Cache,
	}
}

// CPUModel is a CPU model in replies.
type CPUModel struct {
	ID         int64   `json:"id"`
	CPU        *string `json:"cpu"`
	Name       string  `json:"name"`
	Family     *int    `json:"family"`
	Model      *int    `json:"model"`
	Stepping   *int    `json:"stepping"`
	Level      string  `json:"level"`
	XLevel     string  `json:"xlevel"`
	Vendor     string  `json:"vendor"`
	L3Cache    *bool   `json:"l3Cache"`
	Other      *string `json:"other"`
	CreateDate int64   `json:"createDate"`
}

// CPUModelRecord makes the object.
func CPUModelRecord(model *broker.CPUModel) CPUModel {
	return CPUModel{
		ID: model.ID, Name: model.Name, Family: model.Family, Model: model.Model, Stepping: model.Stepping, Level: model.Level,
		XLevel: model.XLevel, Vendor: model.Vendor, L3Cache: model.L3Cache, CreateDate: model.CreatedAt.UnixMilli(),
	}
}

// SMBIOSRequest is an SMBIOS table.
type SMBIOSRequest struct {
	ID     int64      `json:"id" rule:"min=0" doc:"for updates only"`
	Type   *int       `json:"type" rule:"required,min=0,max=127" doc:"type of the table: 0, 1, 2, 3, 4 or 17"`
	Fields SMBIOSText `json:"model" rule:"required" doc:"fields by their QEMU name, e.g. {\"manufacturer\":\"ASUS\"}"`
	Info   string     `json:"info" rule:"required,max=500" doc:"for people"`
}

// SMBIOSText reads the fields of a table.
type SMBIOSText map[string]string

// ReadField implements route.Reader.
func (m *SMBIOSText) ReadField(field string, value any) error {
	entries, err := route.ReadMap(field, value)
	if err != nil {
		return err
	}
	if len(entries) > maxEntries {
		return route.Unacceptable(field, "has too many entries", "条目过多")
	}
	*m = SMBIOSText{}
	for name, entry := range entries {
		text, err := route.ReadText(field+"."+short(name), entry)
		if err != nil {
			return err
		}
		(*m)[name] = text
	}
	return nil
}

// Schema implements route.Documented.
func (SMBIOSText) Schema() map[string]any {
	return map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "string"}}
}

// SMBIOS is an SMBIOS table in replies.
type SMBIOS struct {
	ID         int64             `json:"id"`
	Type       int               `json:"type"`
	Model      map[string]string `json:"model"`
	Info       string            `json:"info"`
	CreateDate int64             `json:"createDate"`
}

// SMBIOSRecord makes the object.
func SMBIOSRecord(model *broker.SMBIOSModel) SMBIOS {
	return SMBIOS{ID: model.ID, Type: model.Type, Model: model.Fields, Info: model.Info, CreateDate: model.CreatedAt.UnixMilli()}
}

// GroupRequest puts models together.
type GroupRequest struct {
	ID       int64   `json:"id" rule:"min=0" doc:"for updates only"`
	CPUModel int64   `json:"cpuModel" rule:"min=0" doc:"CPU model; 0 = none"`
	SMBIOS   IDTexts `json:"smbiosModel" doc:"SMBIOS models: ids with commas between"`
	Info     string  `json:"info" rule:"required,max=500" doc:"for people"`
}

// IDTexts reads ids with commas between, as "1,2".
type IDTexts []int64

// ReadField implements route.Reader.
func (l *IDTexts) ReadField(field string, value any) error {
	text, err := route.ReadText(field, value)
	if err != nil {
		return err
	}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		id, err := strconv.ParseInt(part, 10, 64)
		if err != nil || id < 1 || len(*l) >= maxEntries {
			return route.Unacceptable(field, "must be ids with commas between, as 1,2", "必须是以逗号分隔的 ID，例如 1,2")
		}
		*l = append(*l, id)
	}
	sort.Slice(*l, func(i, j int) bool { return (*l)[i] < (*l)[j] })
	return nil
}

// Schema implements route.Documented.
func (IDTexts) Schema() map[string]any {
	return map[string]any{"type": []string{"string", "null"}, "example": "1,2"}
}

// Group is a model group in replies.
type Group struct {
	ID         int64  `json:"id"`
	CPUModel   int64  `json:"cpuModel" doc:"0 = none"`
	SMBIOS     string `json:"smbiosModel"`
	Info       string `json:"info"`
	CreateDate int64  `json:"createDate"`
}

// GroupRecord makes the object.
func GroupRecord(group *broker.ModelGroup) Group {
	ids := make([]string, len(group.SMBIOS))
	for i, id := range group.SMBIOS {
		ids[i] = strconv.FormatInt(id, 10)
	}
	return Group{
		ID: group.ID, CPUModel: group.CPUModel, SMBIOS: strings.Join(ids, ","), Info: group.Info, CreateDate: group.CreatedAt.UnixMilli(),
	}
}
