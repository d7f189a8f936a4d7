package admin

import (
	"context"
	"strconv"
	"strings"

	"gantry/server/api/route"
	"gantry/server/broker"
	"gantry/server/hypervisor"
)

func (c *Calls) modelPreviewRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getModelArguments", Auth: route.Admin, Name: "getModelArguments", Group: "model",
			Summary: "Shows what a CPU model and SMBIOS tables make of a machine's arguments, before anything is ordered.",
		}, c.modelArguments),
	}
}

// maxPreviewTables is how many tables a group may have.
const maxPreviewTables = 16

// ModelArgumentsRequest names models that exist.
type ModelArgumentsRequest struct {
	CPUModel int64  `json:"cpuModel" in:"query" rule:"min=1" doc:"CPU model"`
	SMBIOS   string `json:"smbios" in:"query" rule:"max=200" doc:"ids of SMBIOS tables, with commas"`
	CPU      string `json:"cpu" in:"query" rule:"max=64" doc:"CPU type of the order; default kvm64"`
	Hide     bool   `json:"devirtualization" in:"query" doc:"the order hides the hypervisor"`
}

// ModelArguments is what a hypervisor is told.
type ModelArguments struct {
	Arguments []string          `json:"arguments" doc:"of QEMU, a word each"`
	System    map[string]string `json:"system" doc:"the table of type 1, which carries the owner mark, too; null: none"`
}

func (c *Calls) modelArguments(ctx context.Context, _ *route.Call, request ModelArgumentsRequest) (ModelArguments, error) {
	spec := hypervisor.GuestSpec{CPUType: request.CPU, HideHypervisor: request.Hide}
	if request.CPUModel != 0 {
		model, err := c.Store.FindCPUModel(ctx, request.CPUModel)
		if err != nil {
			return ModelArguments{}, modelMissing(err, "cpuModel")
		}
		spec.Hardware.CPU = model
	}
	ids := strings.FieldsFunc(request.SMBIOS, func(letter rune) bool { return letter == ',' })
	if len(ids) > maxPreviewTables {
		return ModelArguments{}, broker.InvalidField("smbios", "names more than %d tables", maxPreviewTables)
	}
	for _, text := range ids {
		id, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if err != nil {
			return ModelArguments{}, route.Unacceptable("smbios", "must be numbers with commas", "必须是以逗号分隔的编号")
		}
		table, err := c.Store.FindSMBIOSModel(ctx, id)
		if err != nil {
			return ModelArguments{}, modelMissing(err, "smbios")
		}
		spec.Hardware.SMBIOS = append(spec.Hardware.SMBIOS, *table)
	}
	arguments := spec.Arguments()
	if arguments == nil {
		arguments = []string{}
	}
	return ModelArguments{Arguments: arguments, System: spec.SystemTable()}, nil
}
