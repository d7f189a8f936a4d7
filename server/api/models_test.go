package api_test

import (
	"fmt"
	"strings"
	"testing"

	"gantry/server/api/ams"
	"gantry/server/broker"
)

func TestAPlanTakesEffectInOrders(t *testing.T) {
	f := stocked(t)
	plan := into[ams.Plan](t, f.admin(t, "POST", "addConfiguretemplate", `{"name":"small","sockets":1,"cores":2,"threads":2,"nested":false,"cpu":"host","arch":"x86_64","memory":1024,"storage":"auto","systemDiskSize":50,"bandwidth":100,"onBoot":1,"dataDisk":"{\"1\":20}"}`).Data)
	order := fmt.Sprintf(`{"nodeid":1,"os":1,"cores":8,"memory":4096,"configureTemplateId":%d,"hostname":"by-plan"}`, plan.ID)
	got := f.order(t, order)
	vm := f.vm(t, got.HostID)
	spec := vm.Spec
	if spec.Cores != 2 || spec.Threads != 2 || spec.CPUType != "host" || spec.MemoryMB != 1024 || spec.SystemDiskGB != 50 || spec.BandwidthMbps != 100 ||
		!spec.OnBoot || len(spec.DataDisks) != 1 || spec.DataDisks[0].SizeGB != 20 || spec.PlanID == nil || *spec.PlanID != plan.ID || got.Cores != 2 {
		t.Errorf("ordered by the plan: %+v", spec)
	}
	f.admin(t, "PUT", "updateConfiguretemplate", fmt.Sprintf(`{"configureTemplateId":%d,"name":"large","cores":4}`, plan.ID))
	if now := f.vm(t, got.HostID).Spec.Cores; now != 2 {
		t.Errorf("a changed plan changes machines that exist: %d cores", now)
	}
	if next := f.vm(t, f.order(t, strings.Replace(order, "by-plan", "next", 1)).HostID).Spec; next.Cores != 4 || next.MemoryMB != 4096 {
		t.Errorf("ordered by the changed plan: %+v", next)
	}
	list := into[ams.List[ams.Plan]](t, f.admin(t, "GET", "getConfiguretemplateByPage?page=1&limit=5", "").Data)
	if list.Total != 1 || list.Records[0].Name != "large" || *list.Records[0].Cores != 4 || list.Records[0].Memory != nil {
		t.Errorf("list: %+v", list)
	}
	f.admin(t, "DELETE", fmt.Sprintf("deleteConfiguretemplate/%d", plan.ID), "")
	run(t, f, []scenario{{name: "a plan that is gone", method: "POST", url: "/api/v1/pve/cerateVM", as: "key", body: strings.Replace(order, "by-plan", "third", 1), code: 1020, has: []string{"configureTemplateId: "}}})
}

func TestAModelReachesItsGroups(t *testing.T) {
	f := stocked(t)
	f.admin(t, "POST", "addCpuInfo", `{"name":"first"}`)
	f.admin(t, "POST", "addSmbiosInfo", `{"type":1,"model":{"product":"old"},"info":"system"}`)
	f.admin(t, "POST", "addModelGroup", `{"cpuModel":1,"smbiosModel":"1","info":"PC"}`)
	f.admin(t, "PUT", "updateCpuInfo", `{"id":1,"name":"second"}`)
	f.admin(t, "PUT", "updateSmbiosInfo", `{"id":1,"type":1,"model":{"product":"new"},"info":"system"}`)
	vm := f.vm(t, f.order(t, `{"nodeid":1,"os":1,"modelGroup":1}`).HostID)
	hardware, err := broker.ReadHardware(t.Context(), f.store, vm.Spec.CPUModel, vm.Spec.ModelGroup)
	check(t, err)
	if hardware.CPU == nil || hardware.CPU.Name != "second" || len(hardware.SMBIOS) != 1 || hardware.SMBIOS[0].Fields["product"] != "new" {
		t.Errorf("hardware: %+v", hardware)
	}
	admin := func(name, method, call, body string, code int, has string) scenario {
		return scenario{name: name, method: method, url: "{admin}/" + call, as: "admin", body: body, code: code, has: []string{has}}
	}
	run(t, f, []scenario{
		admin("a CPU model in use", "DELETE", "deleteCpuInfo", `{"id":1}`, 20400, "model group 1 has CPU model 1"),
		admin("an SMBIOS table in use", "DELETE", "deleteSmbiosInfo", `{"id":1}`, 20400, "model group 1 has SMBIOS model 1"),
	})
	f.admin(t, "DELETE", "deleteModelGroup", `{"id":1}`)
	f.admin(t, "POST", "deleteCpuInfo", `{"id":1}`)
	f.admin(t, "DELETE", "deleteSmbiosInfo", `{"id":1}`)
	f.fleet.lacks.Store(new(broker.CapabilityArguments))
	f.admin(t, "POST", "addCpuInfo", `{"name":"third"}`)
	run(t, f, []scenario{{name: "a credential that may not set arguments", method: "POST", url: "/api/v1/pve/cerateVM", as: "key", body: `{"nodeid":1,"os":1,"cpuModel":2}`, code: 20400, has: []string{"cpuModel: ", "root@pam"}}})
}

func TestPlansAndModelsRefuseBadInput(t *testing.T) {
	f := stocked(t)
	f.admin(t, "POST", "addSmbiosInfo", `{"type":1,"model":{"product":"a"},"info":"system"}`)
	f.admin(t, "POST", "addSmbiosInfo", `{"type":1,"model":{"product":"b"},"info":"system"}`)
	var all []scenario
	for _, fact := range []struct {
		method, call, body string
		code               int
		has                string
	}{
		{"POST", "addConfiguretemplate", `{"cores":0}`, 4000002, "cores: "}, {"POST", "addConfiguretemplate", `{"memory":1}`, 4000002, "memory: "},
		{"POST", "addConfiguretemplate", `{"cpu":"z80"}`, 1007, "cpu: "}, {"POST", "addConfiguretemplate", `{"arch":"vax"}`, 1009, "arch: "},
		{"POST", "addConfiguretemplate", `{"nested":true,"cpu":"kvm64"}`, 1010, "cpu: "}, {"POST", "addConfiguretemplate", `{"modelGroup":9}`, 20400, "modelGroup: "},
		{"POST", "addConfiguretemplate", `{"cpuModel":9}`, 20400, "cpuModel: "}, {"POST", "addConfiguretemplate", `{"dataDisk":"x"}`, 4000001, "dataDisk"},
		{"PUT", "updateConfiguretemplate", `{"cores":1}`, 4000002, "configureTemplateId: "}, {"PUT", "updateConfiguretemplate", `{"configureTemplateId":9}`, 1020, "configureTemplateId: "},
		{"DELETE", "deleteConfiguretemplate/9", ``, 1020, "configureTemplateId: "}, {"DELETE", "deleteConfiguretemplate/x", ``, 4000001, "id: "},
		{"POST", "addCpuInfo", `{"name":"` + strings.Repeat("x", 49) + `"}`, 4000002, "name: "}, {"POST", "addCpuInfo", `{"name":"核"}`, 4000002, "name: "},
		{"POST", "addCpuInfo", `{"name":"x,+vmx"}`, 4000002, "name: "}, {"POST", "addCpuInfo", `{"family":-1}`, 4000002, "family: "}, {"POST", "addCpuInfo", `{"stepping":16}`, 4000002, "stepping: "},
		{"POST", "addCpuInfo", `{"level":"1,+vmx"}`, 4000002, "level: "}, {"POST", "addCpuInfo", `{"vendor":"Intel"}`, 4000002, "vendor: "},
		{"POST", "addCpuInfo", `{"l3Cache":"maybe"}`, 4000001, "l3Cache: "}, {"PUT", "updateCpuInfo", `{"name":"x"}`, 4000002, "id: "},
		{"PUT", "updateCpuInfo", `{"id":9}`, 20400, "id: "}, {"DELETE", "deleteCpuInfo", `{}`, 4000002, "id: "}, {"DELETE", "deleteCpuInfo", `{"id":9}`, 20400, "id: "},
		{"GET", "selectCpuInfo", ``, 4000002, "id: "}, {"GET", "selectCpuInfo?id=9", ``, 20400, "id: "}, {"GET", "selectCpuInfoPage?limit=0", ``, 4000002, "size: "},
		{"POST", "addSmbiosInfo", `{"type":5,"model":{"a":"b"},"info":"x"}`, 4000002, "type: "}, {"POST", "addSmbiosInfo", `{"type":1,"model":{},"info":"x"}`, 4000002, "model: "},
		{"POST", "addSmbiosInfo", `{"type":1,"model":{"uuid":"1"},"info":"x"}`, 4000002, "model.uuid: "}, {"POST", "addSmbiosInfo", `{"type":1,"model":{"product":"a\nb"},"info":"x"}`, 4000002, "model.product: "},
		{"POST", "addSmbiosInfo", `{"type":0,"model":{"release":"one"},"info":"x"}`, 4000002, "model.release: "}, {"POST", "addSmbiosInfo", `{"type":1,"model":{"product":"a"}}`, 4000002, "info: "},
		{"PUT", "updateSmbiosInfo", `{"id":9,"type":1,"model":{"product":"a"},"info":"x"}`, 20400, "id: "}, {"DELETE", "deleteSmbiosInfo", `{"id":9}`, 20400, "id: "},
		{"GET", "getSmbiosInfo?id=9", ``, 20400, "id: "},
		{"POST", "addModelGroup", `{"info":"x"}`, 4000002, "cpuModel: "}, {"POST", "addModelGroup", `{"cpuModel":9,"info":"x"}`, 20400, "cpuModel: "},
		{"POST", "addModelGroup", `{"smbiosModel":"9","info":"x"}`, 20400, "smbiosModel: "}, {"POST", "addModelGroup", `{"smbiosModel":"1;2","info":"x"}`, 4000002, "smbiosModel"},
		{"POST", "addModelGroup", `{"smbiosModel":"1,2","info":"x"}`, 4000002, "smbiosModel: "}, {"PUT", "updateModelGroup", `{"id":9,"smbiosModel":"1","info":"x"}`, 20400, "id: "},
		{"DELETE", "deleteModelGroup", `{"id":9}`, 20400, "id: "}, {"GET", "getModelGroup?modelGroupId=9", ``, 20400, "modelGroupId: "},
	} {
		path := "{admin}/" + fact.call
		all = append(all,
			scenario{name: fact.call + " " + fact.body, method: fact.method, url: path, as: "admin", body: fact.body, code: fact.code, has: []string{fact.has}},
			scenario{name: "without a token: " + fact.call + " " + fact.body, method: fact.method, url: path, body: fact.body, code: 501002},
			scenario{name: "with a key: " + fact.call + " " + fact.body, method: fact.method, url: path, as: "key", body: fact.body, code: 501002})
	}
	all = append(all, scenario{name: "an order by a model that does not exist", method: "POST", url: "/api/v1/pve/cerateVM", as: "key", body: `{"nodeid":1,"os":1,"cpuModel":9}`, code: 20400, has: []string{"cpuModel: "}})
	run(t, f, all)
}
