package api_test

import (
	"fmt"
	"strings"
	"testing"

	"gantry/server/broker"
)

func TestPasswordsAreSetThroughTheAPI(t *testing.T) {
	f := stocked(t)
	for name, send := range map[string]func(body string) reply{
		"billing": func(body string) reply { return f.billing(t, "PUT", "pve/updateVmConfig/restPassword", body) },
		"admin":   func(body string) reply { return f.admin(t, "POST", "updateVmConfig/restPassword", body) },
	} {
		vm := f.ordered(t, nil)
		got := send(fmt.Sprintf(`{"hostId":%d,"newPassword":"test123"}`, vm.ID))
		old := vm.Password
		vm = f.vm(t, vm.ID)
		if f.queued(t, vm) != broker.PasswordKind || vm.Status != broker.VMResetPassword || vm.PendingPassword != "test123" || vm.Password != old {
			t.Errorf("%s: status %d, task %q, pending %q", name, vm.Status, f.queued(t, vm), vm.PendingPassword)
		}
		if want := fmt.Sprint(*vm.TaskID); got.header.Get("X-Task-Id") != want || !strings.Contains(got.text, `"taskId":`+want) {
			t.Errorf("%s: %s", name, got.text)
		}
	}
	if strings.Contains(f.log.String(), "test123") {
		t.Error("the log has the password")
	}
}

func TestConsolePasswordsAreSetAndRemoved(t *testing.T) {
	f := stocked(t)
	vm := f.ordered(t, nil)
	for _, row := range []struct {
		body, want, warning string
	}{
		{`"password":"sesame"`, "sesame", ""},
		{`"password":"longer than eight"`, "longer than eight", "first 8 characters"},
		{`"remove":true`, "", ""},
	} {
		got := f.billing(t, "PUT", "pve/updateVncPassword", fmt.Sprintf(`{"hostId":%d,%s}`, vm.ID, row.body))
		if after := f.vm(t, vm.ID); after.ConsolePassword != row.want || strings.Contains(fmt.Sprint(got.Warnings), "8") != (row.warning != "") {
			t.Errorf("%s: %q, %s", row.body, after.ConsolePassword, got.text)
		}
	}
	f.admin(t, "POST", "pve/updateVncPassword", fmt.Sprintf(`{"hostId":%d,"password":"x"}`, vm.ID))
	if after := f.vm(t, vm.ID); after.ConsolePassword != "x" || after.TaskID != nil {
		t.Errorf("by an administrator: %+v", after)
	}
	for _, body := range []string{`{}`, `{"password":""}`, `{"password":"a","remove":true}`, `{"password":"密码"}`} {
		got := f.send(t, "PUT", "/api/v1/pve/updateVncPassword", map[string]string{"Authorization": f.basic}, strings.Replace(body, "{", fmt.Sprintf(`{"hostId":%d,`, vm.ID), 1))
		if got.Code == 20000 {
			t.Errorf("%s: %s", body, got.text)
		}
	}
}

func TestMachinesAreResizedThroughTheAPI(t *testing.T) {
	f := stocked(t)
	f.admin(t, "POST", "addConfiguretemplate", `{"name":"large","cores":8,"memory":4096,"systemDiskSize":10}`)
	vm := f.ordered(t, nil)
	got := f.billing(t, "PUT", "pve/updateVm", fmt.Sprintf(`{"hostId":%d,"configureTemplateId":1,"bandwidth":50,"cpuUnits":1024,"mbpsRd":20}`, vm.ID))
	task, err := f.store.FindTask(t.Context(), *f.vm(t, vm.ID).TaskID)
	check(t, err)
	data := into[broker.ResizeData](t, task.Data)
	if to := data.To; task.Kind != broker.ResizeKind || to.Cores != 8 || to.MemoryMB != 4096 || to.SystemDiskGB != 40 || to.BandwidthMbps != 50 || to.CPUPercent != broker.Unlimited || to.IO.ReadMBps != 20 || to.MAC != vm.Spec.MAC {
		t.Errorf("%+v", to)
	}
	if len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "started next") {
		t.Errorf("the caller does not learn that it waits: %s", got.text)
	}
	if busy := f.send(t, "PUT", "/api/v1/pve/updateVm", map[string]string{"Authorization": f.basic}, fmt.Sprintf(`{"hostId":%d,"cores":2}`, vm.ID)); busy.Code == 20000 {
		t.Errorf("a second one at once: %s", busy.text)
	}
	vm = f.ordered(t, nil)
	if got := f.admin(t, "PUT", "updateVm", fmt.Sprintf(`{"hostid":%d,"flowLimit":9}`, vm.ID)); string(got.Data) != "null" || f.vm(t, vm.ID).Spec.TrafficBytes != 9<<30 {
		t.Errorf("the quota alone: %s", got.text)
	}
	for body, field := range map[string]string{
		`"systemDiskSize":1`: "systemDiskSize", `"dataDisk":{"1":5}`: "dataDisk.1", `"configureTemplateId":77`: "configureTemplateId",
		`"memory":"much"`: "memory", `"cores":0`: "cores", `"cpu":"abacus"`: "cpu", `"modelGroup":5`: "modelGroup",
	} {
		got := f.send(t, "PUT", "/api/v1/pve/updateVm", map[string]string{"Authorization": f.basic}, fmt.Sprintf(`{"hostId":%d,%s}`, vm.ID, body))
		if got.Code == 20000 || !strings.HasPrefix(got.Message, field+": ") && !strings.Contains(got.Message, "1020") && got.Code != 1020 && got.Code != 1007 {
			t.Errorf("%s: %s", body, got.text)
		}
	}
}

func TestBillingSeesPlans(t *testing.T) {
	f := stocked(t)
	f.admin(t, "POST", "addConfiguretemplate", `{"name":"large","cores":8}`)
	if got := f.billing(t, "GET", "pve/getPlanList?page=1&size=5", ""); !strings.Contains(got.text, `"name":"large"`) || !strings.Contains(got.text, `"total":1`) {
		t.Errorf("%s", got.text)
	}
}
