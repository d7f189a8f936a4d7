package api_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"gantry/server/api/admin"
	"gantry/server/api/ams"
	"gantry/server/broker"
)

func TestImagesThroughTheAPI(t *testing.T) {
	f := stocked(t)
	f.admin(t, "POST", "insertOs", `{"name":"Debian_12","fileName":"deb.qcow2","type":"linux","downType":0,"url":"http://images.example/d.qcow2","osType":"debian"}`)
	vm := f.order(t, `{"nodeid":1,"os":1}`)
	run(t, f, []scenario{
		bad("search without a field", "GET", "selectOsByPageAndCondition?value=x", "", 4000002, "param: is required"),
		bad("search for nothing", "GET", "selectOsByPageAndCondition?param=name", "", 4000002, "value: is required"),
		bad("search an unknown field", "GET", "selectOsByPageAndCondition?param=checksum&value=x", "", 4000002, "param: must be one of"),
		bad("search a statement", "GET", "selectOsByPageAndCondition?param=name%3B--&value=x", "", 4000002, "param: "),
		bad("a word for a number", "GET", "selectOsByPageAndCondition?param=status&value=x", "", 4000002, "value: "),
		bad("change unknown", "PUT", "updateOs", `{"id":99}`, 1014, "id: "),
		bad("change none", "PUT", "updateOs", `{"name":"x"}`, 4000002, "id: is required"),
		bad("taken name", "PUT", "updateOs", `{"id":2,"name":"CentOS-8-Stream-x64"}`, 20405, "name: "),
		bad("taken file name", "PUT", "updateOs", `{"id":2,"fileName":"CentOS-8-Stream-x64.qcow2"}`, 20405, "fileName: "),
		bad("other source", "PUT", "updateOs", `{"id":2,"downType":1}`, 4000002, "downType: can't be changed"),
		bad("unknown architecture", "PUT", "updateOs", `{"id":2,"arch":"z80"}`, 1009, "arch: "),
		bad("folder with dots", "PUT", "updateOs", `{"id":2,"path":"/home/../etc"}`, 4000002, "path: "),
		bad("file name while a node has it", "PUT", "updateOs", `{"id":1,"fileName":"other.qcow2"}`, 20400, "fileName: image"),
		bad("folder while a node has it", "POST", "updateOs", `{"id":1,"path":"/srv"}`, 20400, "path: image"),
		bad("delete unknown", "DELETE", "deleteOs", `{"osId":99}`, 1014, "osId: "),
		bad("delete none", "DELETE", "deleteOs", ``, 4000002, "osId: is required"),
		bad("delete a machine's", "DELETE", "deleteOs", `{"osId":1}`, 20400, "osId: image", "1 virtual machines have it"),
		bad("take what is not listed", "POST", "activeOsByOnline", `{"fileName":"x.qcow2"}`, 1014, "fileName: "),
		bad("take nothing", "POST", "activeOsByOnline", `{}`, 4000002, "fileName: is required"),
		bad("page of a word", "GET", "selectOsByOnline?page=x", "", 4000001, "page: "),
	})
	refusals(t, f, "GET selectOsByOnline", "POST activeOsByOnline", "GET selectOsByPageAndCondition", "PUT updateOs", "DELETE deleteOs")

	for query, want := range map[string]int{
		"param=name&value=bian": 1, "param=name&value=DEB": 1, "param=name&value=_": 1, "param=name&value=%25": 0, "param=fileName&value=qcow2": 2,
		"param=osType&value=centos": 1, "param=cloud&value=1": 1, "param=downType&value=0": 2, "param=id&value=2": 1, "param=arch&value=aarch64": 0,
	} {
		if got := into[ams.List[ams.Image]](t, f.admin(t, "GET", "selectOsByPageAndCondition?"+query, "").Data); len(got.Records) != want {
			t.Errorf("%s: %d images, want %d", query, len(got.Records), want)
		}
	}
	f.admin(t, "PUT", "updateOs", `{"id":2,"name":"Debian 12","cloud":1,"status":2,"size":"9MB","osType":"rocky"}`)
	if got := f.admin(t, "GET", "selectOsByPageAndCondition?param=id&value=2", ""); !strings.Contains(got.text, `"name":"Debian 12"`) ||
		!strings.Contains(got.text, `"osType":"rocky"`) || !strings.Contains(got.text, `"cloud":1,"status":1`) || strings.Contains(got.text, "9MB") {
		t.Errorf("changed: %s", got.text)
	}

	// The catalogue, before and after an image is taken.
	var listed admin.CataloguePage
	check(t, json.Unmarshal(f.admin(t, "GET", "selectOsByOnline?page=2&size=3", "").Data, &listed))
	if listed.Page != 2 || listed.Size != 3 || listed.Total < 8 || listed.TotalPage != (listed.Total+2)/3 || len(listed.Data) != 3 {
		t.Fatalf("page %+v", listed)
	}
	for fileName, image := range listed.Data[0] {
		if len(image.NodeData) != 0 || image.URL == "" {
			t.Errorf("%s: %+v", fileName, image)
		}
		f.admin(t, "POST", "activeOsByOnline", `{"fileName":"`+fileName+`"}`)
		run(t, f, []scenario{bad("taken twice", "POST", "activeOsByOnline", `{"fileName":"`+fileName+`"}`, 20405)})
		check(t, json.Unmarshal(f.admin(t, "GET", "selectOsByOnline?page=2&size=3", "").Data, &listed))
		if taken := listed.Data[0][fileName].NodeData; len(taken) != 1 || taken[0].OSID != 3 {
			t.Errorf("after it was taken: %+v", taken)
		}
	}
	if past := f.admin(t, "GET", "selectOsByOnline?page=999", ""); !strings.Contains(past.text, `"data":[]`) {
		t.Errorf("page past the end: %s", past.text)
	}

	// A download under way keeps the image, too; afterwards its copy goes by a task of its own.
	f.setStatus(t, vm.HostID, broker.VMStopped)
	check(t, f.store.MarkVMDeleted(t.Context(), vm.HostID, time.Now()))
	f.admin(t, "POST", "downloadOs", `{"osId":1,"nodeId":2}`)
	run(t, f, []scenario{bad("delete while it is downloaded", "DELETE", "deleteOs", `{"osId":1}`, 20400, "node 2 downloads it")})
	check(t, f.store.SaveImageCopy(t.Context(), &broker.ImageCopy{ImageID: 1, NodeID: 2, State: broker.ImageFailed, UpdatedAt: time.Now()}))
	f.admin(t, "DELETE", "deleteOs", `{"osId":1}`)
	tasks, _, err := f.store.ListTasks(t.Context(), broker.TaskFilter{Kind: broker.DeleteImageKind}, broker.Page{Number: 1, Size: 9})
	check(t, err)
	if len(tasks) != 1 || tasks[0].NodeID != 1 || !strings.Contains(string(tasks[0].Data), "local:import/CentOS-8-Stream-x64.qcow2") {
		t.Errorf("tasks %+v", tasks)
	}
	run(t, f, []scenario{bad("gone", "DELETE", "deleteOs?osId=1", "", 1014)})
}
