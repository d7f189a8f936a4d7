package api_test

import (
	"fmt"
	"testing"
	"time"

	"gantry/server/api/ams"
	"gantry/server/broker"
)

func TestTrafficThroughTheAPI(t *testing.T) {
	f := stocked(t)
	host := f.order(t, `{"nodeid":1,"os":1,"flowLimit":1}`).HostID
	count := func(at time.Time, in, out int64) {
		t.Helper()
		check(t, f.store.CountTraffic(t.Context(), []broker.TrafficPoint{{VM: host, At: at, NetIn: in, NetOut: out}}))
	}
	now := time.Now().UTC()
	month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	count(month.Add(-2*time.Hour), 0, 0)
	count(month.Add(-time.Hour), 5, 6)
	count(month.Add(time.Second), 105, 206)
	list := into[[]ams.MonthlyTraffic](t, f.billing(t, "GET", fmt.Sprintf("auto/getVmTraffic?hostId=%d", host), "").Data)
	want := []ams.MonthlyTraffic{{Month: month.Format("2006-01"), In: 100, Out: 200, Total: 300}, {Month: month.AddDate(0, 0, -1).Format("2006-01"), In: 5, Out: 6, Total: 11}}
	if fmt.Sprint(list) != fmt.Sprint(want) {
		t.Errorf("months %+v, want %+v", list, want)
	}
	f.admin(t, "GET", fmt.Sprintf("getVmTraffic?hostId=%d", host), "")
	info := into[ams.VM](t, f.billing(t, "GET", fmt.Sprintf("pve/getVmInfo?hostId=%d", host), "").Data)
	page := into[ams.ShortList[ams.VM]](t, f.billing(t, "GET", "pve/getVmByPage", "").Data)
	if info.VMHost.UsedFlow != 300 || info.VMHost.FlowLimit != 1<<30 || page.Records[0].VMHost.UsedFlow != 300 {
		t.Errorf("usedFlow %d, in the list %d", info.VMHost.UsedFlow, page.Records[0].VMHost.UsedFlow)
	}
	if got := string(f.admin(t, "GET", "getTrafficConfig", "").Data); got != `{"overTraffic":"stop"}` {
		t.Errorf("default %s", got)
	}
	f.admin(t, "PUT", "updateTrafficConfig", `{"overTraffic":"none"}`)
	if got := string(f.admin(t, "GET", "getTrafficConfig", "").Data); got != `{"overTraffic":"none"}` {
		t.Errorf("changed %s", got)
	}
	key, secret, err := f.accounts.NewAPIKey(t.Context(), "other")
	check(t, err)
	stranger := map[string]string{"Authorization": basicHeader(key.AppID, secret)}
	run(t, f, []scenario{
		{name: "another's", method: "GET", url: fmt.Sprintf("/api/v1/auto/getVmTraffic?hostId=%d", host), header: stranger, code: 1016},
		{name: "of nobody", method: "GET", url: "/api/v1/pve/getVmTraffic?hostId=99", as: "key", code: 1016},
		{name: "of a word", method: "GET", url: "/api/v1/pve/getVmTraffic?hostId=x", as: "key", code: 4000001},
		{name: "without a key", method: "GET", url: "/api/v1/pve/getVmTraffic?hostId=1", http: 401, code: 501002},
		bad("throttling, which there is none of", "PUT", "updateTrafficConfig", `{"overTraffic":"throttle"}`, 4000002, "overTraffic: "),
		bad("nothing", "PUT", "updateTrafficConfig", `{}`, 4000002, "overTraffic: is required"),
	})
	refusals(t, f, "GET getVmTraffic?hostId=1", "GET getTrafficConfig", "PUT updateTrafficConfig")
}
