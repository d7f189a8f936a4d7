package pve

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"gantry/server/broker"
)

// What vncproxy answers differs by version; the target is for the websocket on 8006 with the credential that asked.
func TestConsoleTargets(t *testing.T) {
	const v8, v9 = `{"user":"u","port":"5901","ticket":"PVEVNC:6B01::a+b/c=","cert":"-","upid":"x","password":"s3cretpw"}`, `{"user":"u","port":5901,"ticket":"Ab3dEf6h:PVEVNC:6B01::a+b/c=","cert":"-","upid":"x"}`
	for version, fact := range map[string]struct{ answer, asks, password string }{
		"8.4.1":  {v8, `{"generate-password":1,"websocket":1}`, "s3cretpw"},
		"9.2.11": {v9, `{"websocket":1}`, "Ab3dEf6h"},
	} {
		for _, byToken := range []bool{true, false} {
			tickets := &ticketServer{}
			s := serve(t, func(request *http.Request) string {
				if strings.HasSuffix(request.URL.Path, "/access/ticket") {
					return tickets.answer(request)
				}
				return guestPages(map[string]string{
					"GET /version": data(`{"version":"` + version + `"}`), "GET /nodes/pve1/qemu/100/status/current": data(`{"status":"running"}`),
					"POST /nodes/pve1/qemu/100/vncproxy": data(fact.answer),
				})(request)
			})
			d, header, value := s.byToken(t), "Authorization", "PVEAPIToken="+testToken+"="+testSecret
			if !byToken {
				d, header, value = s.byPassword(t), "Cookie", "PVEAuthCookie="+url.QueryEscape("PVE:admin@pve:1::a+b/c=")
			}
			target, err := d.Console(t.Context(), testRef)
			if err != nil {
				t.Fatal(err)
			}
			address, err := url.Parse(target.Address)
			if err != nil {
				t.Fatal(err)
			}
			query := address.Query()
			if address.Scheme != "wss" || address.Host != s.listener.Addr().String() || address.Path != "/api2/json/nodes/pve1/qemu/100/vncwebsocket" ||
				query.Get("port") != "5901" || !strings.Contains(fact.answer, `"`+query.Get("vncticket")+`"`) || query.Get("vncticket") == "" {
				t.Errorf("%s: address is %s", version, target.Address)
			}
			if target.Network != "websocket" || target.TLSPin != hex.EncodeToString(s.pin[:]) || len(target.Header) != 1 || target.Header[header] != value {
				t.Errorf("%s: target is %+v", version, target)
			}
			if !strings.HasPrefix(target.Password, fact.password) {
				t.Errorf("%s: password is %q", version, target.Password)
			}
			seen := s.seen()
			if got := seen[len(seen)-1]; got != "POST /nodes/pve1/qemu/100/vncproxy "+fact.asks {
				t.Errorf("%s: asked with %s", version, got)
			}
		}
	}
}

func TestConsoleAnswersThatCantBeUsed(t *testing.T) {
	for answer, kind := range map[string]broker.Kind{
		data(`{"port":"22","ticket":"x"}`): broker.Failed,
		data(`{"port":"5900"}`):            broker.Failed,
		data(`null`):                       broker.Failed,
		cut:                                broker.Unreachable, // may be asked for again: the proxy ends by itself
		reply("403 Permission check failed (/vms/100, VM.Console)", ""): broker.HypervisorAuth,
	} {
		s := serve(t, guestPages(map[string]string{
			"GET /version": data(`{"version":"9.2.11"}`), "GET /nodes/pve1/qemu/100/status/current": data(`{"status":"running"}`),
			"POST /nodes/pve1/qemu/100/vncproxy": answer,
		}))
		target, err := s.byToken(t).Console(t.Context(), testRef)
		if !broker.Is(err, kind) || target.Address != "" {
			t.Errorf("%.60q: %+v, %v, want %s", answer, target, err, kind)
		}
	}
}
