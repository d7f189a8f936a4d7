package api

import (
	"net/http"
	"strings"
	"testing"

	"gantry/lab/cluster"
	"gantry/lab/schema"
)

func FuzzReadParams(f *testing.F) {
	definitions, err := schema.Load(9)
	if err != nil {
		f.Fatal(err)
	}
	method, _ := definitions.Find("PUT", []string{"nodes", "x", "qemu", "100", "config"})
	server := &Server{Cluster: &cluster.Cluster{Options: cluster.Options{Major: 9}}}
	for _, seed := range [][3]string{
		{"application/json", `{"name":"a","cores":1,"onboot":true,"net0":{"a":1},"tags":null}`, "digest=1"},
		{"application/x-www-form-urlencoded", "name=a&name=b&cores=%31", ""},
		{"", "name=vm100", "a=%zz"},
		{"text/plain", "x", ""},
		{"application/json", "{bad", ""},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, kind, body, query string) {
		request, err := http.NewRequest("PUT", "https://x/api2/json/nodes/x/qemu/100/config", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.URL.RawQuery = query
		request.Header["Content-Type"] = []string{kind}
		params, err := server.readParams(request)
		if err != nil {
			return
		}
		for name, text := range method.Check(params) {
			if text == "" {
				t.Errorf("parameter %q was refused without a reason", name)
			}
		}
		params.Texts()
	})
}
