package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"gantry/internal/consoleapi"
	"gantry/server/account"
	"gantry/server/api/ams"
	"gantry/server/broker"
)

func (f *fixture) addProxy(t *testing.T, name string) (secret string) {
	t.Helper()
	secret, hash := account.NewConsoleSecret()
	check(t, f.store.InsertConsoleNode(t.Context(), &broker.ConsoleNode{
		Name: name, URL: "https://" + name + ".example:6080", Secret: hash, CreatedAt: time.Now(),
	}))
	return secret
}

func TestConsoleLinks(t *testing.T) {
	f := stocked(t)
	vm := f.order(t, `{"nodeid":1,"os":1}`)
	path := fmt.Sprintf("pve/getVnc?hostId=%d&page=1&size=5", vm.HostID)
	header := map[string]string{"Authorization": f.basic}
	if got := f.send(t, "GET", "/api/v1/"+path, header, ""); got.Code != 1032 {
		t.Errorf("machine that does not run: %s", got.text)
	}
	f.setStatus(t, vm.HostID, broker.VMRunning)
	if got := f.send(t, "GET", "/api/v1/"+path, header, ""); got.Code != 1033 {
		t.Errorf("no proxy: %s", got.text)
	}
	secret := f.addProxy(t, "berlin")
	f.addProxy(t, "paris")
	disabled := f.addProxy(t, "oslo")
	node, err := f.store.FindConsoleNodeByName(t.Context(), "oslo")
	check(t, err)
	node.Disabled = true
	check(t, f.store.UpdateConsoleNode(t.Context(), node))

	list := into[ams.ShortList[map[string]string]](t, f.billing(t, "GET", path, "").Data)
	if list.Total != 1 || list.Current != 1 || list.Pages != 1 || list.Size != 5 || len(list.Records) != 1 || len(list.Records[0]) != 2 {
		t.Fatalf("list %+v", list)
	}
	for name, link := range list.Records[0] {
		if !strings.HasPrefix(link, "https://"+name+".example:6080/") || strings.Contains(link, "192.0.2.10") {
			t.Errorf("%s: %s", name, link)
		}
	}
	if got := f.admin(t, "GET", path, ""); !strings.Contains(got.text, "berlin") {
		t.Errorf("admin: %s", got.text)
	}

	address, err := url.Parse(list.Records[0]["berlin"])
	check(t, err)
	values, err := url.ParseQuery(address.Fragment)
	check(t, err)
	body, err := json.Marshal(consoleapi.RedeemRequest{
		Token: consoleapi.Token(values.Get("token")), FreshKey: consoleapi.NewSessionKey(), ClientIP: "192.0.2.77",
	})
	check(t, err)
	for _, each := range []struct {
		name, authorization string
		status              int
	}{
		{"no secret", "", 401}, {"wrong secret", "Bearer x", 401}, {"disabled proxy", "Bearer " + disabled, 401},
		{"admin's token", "Bearer " + f.token, 401}, {"API key", f.basic, 401}, {"right", "Bearer " + secret, 200}, {"used up", "Bearer " + secret, 409},
	} {
		got := f.send(t, "POST", consoleapi.RedeemPath, map[string]string{"Authorization": each.authorization}, string(body))
		if got.status != each.status {
			t.Errorf("%s: HTTP %d: %s", each.name, got.status, got.text)
		}
		if leaked := strings.Contains(got.text, "vncsecret"); leaked != (each.status == 200) {
			t.Errorf("%s: %s", each.name, got.text)
		}
	}
}

// The broker passes a screen on through its real HTTP server: routers wrap the writer that a websocket takes over.
func TestScreensThroughTheBroker(t *testing.T) {
	f := stocked(t)
	vm := f.order(t, `{"nodeid":1,"os":1}`)
	f.setStatus(t, vm.HostID, broker.VMRunning)
	secret := f.addProxy(t, "berlin")
	served := httptest.NewServer(f.handler)
	t.Cleanup(served.Close)
	client := consoleapi.NewClient(served.URL, secret, http.DefaultClient)
	list := into[ams.ShortList[map[string]string]](t, f.billing(t, "GET", fmt.Sprintf("pve/getVnc?hostId=%d", vm.HostID), "").Data)
	_, text, _ := strings.Cut(list.Records[0]["berlin"], "#token=")
	token, key := consoleapi.Token(text), consoleapi.NewSessionKey()
	if _, err := client.Redeem(t.Context(), consoleapi.RedeemRequest{Token: token, FreshKey: key, ClientIP: "192.0.2.77"}); err != nil {
		t.Fatal(err)
	}
	screen, err := client.Stream(t.Context(), consoleapi.StreamRequest{Token: token, SessionKey: key})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = screen.CloseNow() }()
	if _, shown, err := screen.Read(t.Context()); err != nil || string(shown) != "screen" {
		t.Errorf("%q, %v", shown, err)
	}
	var refusal *consoleapi.Refusal
	if _, err := client.Stream(t.Context(), consoleapi.StreamRequest{Token: token, SessionKey: consoleapi.NewSessionKey()}); !errors.As(err, &refusal) || refusal.Reason != consoleapi.ReasonLinkUsed {
		t.Errorf("another browser: %v", err)
	}
	if _, err := consoleapi.NewClient(served.URL, "wrong", http.DefaultClient).Stream(t.Context(), consoleapi.StreamRequest{Token: token, SessionKey: key}); err == nil {
		t.Error("a wrong secret is let in")
	}
	f.fleet.lacks.Store(new(broker.CapabilityConsole))
	if got := f.send(t, "GET", fmt.Sprintf("/api/v1/pve/getVnc?hostId=%d", vm.HostID), map[string]string{"Authorization": f.basic}, ""); !strings.Contains(got.text, "not supported by this hypervisor") {
		t.Errorf("without screens: %s", got.text)
	}
}
