package pve

import (
	"net/http"
	"strings"
	"testing"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// granted is GET /access/permissions of a credential that has everything but without on the path where the driver needs it.
func granted(version, without string) string {
	paths := map[string][]string{}
	for _, each := range privileges {
		if each.existsIn(version) && each.name != without {
			paths[each.path] = append(paths[each.path], `"`+each.name+`":1`)
		}
	}
	var out []string
	for path, names := range paths {
		out = append(out, `"`+path+`":{`+strings.Join(names, ",")+`}`)
	}
	return "{" + strings.Join(out, ",") + "}"
}

func probe(t *testing.T, version, permissions string) []hypervisor.Problem {
	t.Helper()
	s := serve(t, pages(map[string]string{
		"GET /version": data(`{"version":"` + version + `"}`), "GET /nodes": data(`[{"node":"pve1","status":"online"}]`),
		"GET /access/permissions": data(permissions), "GET /cluster/status": reply("403 Permission check failed (/, Sys.Audit)", ""),
	}))
	result, err := s.byToken(t).Probe(t.Context())
	if err != nil || result.ThisNode != "pve1" || result.Version != version {
		t.Fatalf("probe is %+v, %v", result, err)
	}
	for _, problem := range result.Problems {
		if problem.Text[broker.English] == "" || problem.Text[broker.Chinese] == "" {
			t.Errorf("%s has no text in a language", problem.Reason)
		}
	}
	return result.Problems
}

func TestEachMissingPrivilegeIsNamed(t *testing.T) {
	for _, version := range []string{"8.4.1", "9.2.11"} {
		if problems := probe(t, version, granted(version, "")); len(problems) != 0 {
			t.Errorf("%s: everything is granted, yet %+v", version, problems)
		}
		for _, each := range privileges {
			problems := probe(t, version, granted(version, each.name))
			if !each.existsIn(version) {
				if len(problems) != 0 {
					t.Errorf("%s: %s is not of this version, yet %+v", version, each.name, problems)
				}
				continue
			}
			if len(problems) != 1 || problems[0].Reason != "missing_privilege" || problems[0].Fatal != (each.use == "") {
				t.Errorf("%s without %s: %+v", version, each.name, problems)
				continue
			}
			for language, text := range problems[0].Text {
				for _, word := range []string{each.name, each.path, "--roles " + orElse(each.role, "GantryNetwork"), "--tokens '" + testToken + "'"} {
					if !strings.Contains(text, word) {
						t.Errorf("%s text lacks %q: %s", language, word, text)
					}
				}
			}
		}
	}
}

func TestPrivilegesOfAnAdministrator(t *testing.T) {
	var all []string
	for _, each := range privileges {
		all = append(all, `"`+each.name+`":1`)
	}
	if problems := probe(t, "9.2.11", `{"/":{`+strings.Join(all, ",")+`}}`); len(problems) != 0 {
		t.Errorf("all on /: %+v", problems)
	}
	if problems := probe(t, "9.2.11", `{"/":{`+strings.ReplaceAll(strings.Join(all, ","), ":1", ":0")+`}}`); len(problems) == 0 {
		t.Error("privileges that do not reach below / are not enough")
	}
	modify := strings.Replace(granted("9.2.11", "Sys.AccessNetwork"), "{", `{"/":{"Sys.Modify":1},`, 1)
	if problems := probe(t, "9.2.11", modify); len(problems) != 0 {
		t.Errorf("Sys.Modify on / does for Sys.AccessNetwork: %+v", problems)
	}
}

func TestTokenWithPrivilegeSeparationIsExplained(t *testing.T) {
	problems := probe(t, "9.2.11", "{}")
	if len(problems) == 0 || problems[0].Reason != "token_without_privileges" || !problems[0].Fatal ||
		!strings.Contains(problems[0].Text[broker.English], "privilege separation") || !strings.Contains(problems[0].Text[broker.Chinese], "特权分离") {
		t.Errorf("problems are %+v", problems)
	}
}

func TestOldVersions(t *testing.T) {
	for version, want := range map[string]struct {
		reason string
		fatal  bool
	}{"7.4-17": {"old_version", true}, "8.0.4": {"no_image_import", false}, "8.3.1": {"no_image_import", false}, "8.4.1": {}, "9.0": {}, "nonsense": {"old_version", true}} {
		problems := probe(t, version, `{"/":{}}`)
		if problems[0].Reason == "missing_privilege" {
			problems[0] = hypervisor.Problem{}
		}
		if problems[0].Reason != want.reason || problems[0].Fatal != want.fatal {
			t.Errorf("%s: %+v, want %+v", version, problems[0], want)
		}
	}
}

func TestProbeOfSomethingElse(t *testing.T) {
	for body, says := range map[string]string{`{"data":{}}`: "does not answer like Proxmox VE", "<html>": "can't be read"} {
		s := serve(t, func(*http.Request) string { return reply("200 OK", body) })
		_, err := s.byToken(t).Probe(t.Context())
		check(t, err, broker.Failed, says)
	}
}

func TestNamedNodeMustExist(t *testing.T) {
	s := serve(t, pages(map[string]string{
		"GET /version": data(`{"version":"9.2.11"}`), "GET /nodes": data(`[{"node":"pve1","status":"online"}]`),
		"GET /access/permissions": data(granted("9.2.11", "")), "GET /cluster/status": data(`[{"type":"cluster","name":"c"},{"type":"node","name":"pve1","local":1}]`),
	}))
	options := map[string]string{"tokenId": testToken, "tokenSecret": testSecret, "nodeName": "pve9"}
	result, err := openRaw(t, s.settings(options)).Probe(t.Context())
	if err != nil || len(result.Problems) != 1 || result.Problems[0].Reason != "node_not_found" {
		t.Errorf("probe is %+v, %v", result, err)
	}
}

func TestThisNodeIsTheOneThatShowsTheCertificate(t *testing.T) {
	var s *rawServer
	s = serve(t, func(request *http.Request) string {
		return pages(map[string]string{
			"GET /version": data(`{"version":"9.2.11"}`), "GET /access/permissions": data(granted("9.2.11", "")),
			"GET /nodes": data(`[{"node":"pve1","status":"online","ssl_fingerprint":"` + strings.Repeat("AB:", 31) + `AB"},{"node":"pve2","status":"online","ssl_fingerprint":"` + s.pin.String() + `"}]`),
		})(request)
	})
	result, err := s.byToken(t).Probe(t.Context())
	if err != nil || result.ThisNode != "pve2" {
		t.Errorf("probe is %+v, %v", result, err)
	}
}
