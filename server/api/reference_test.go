package api_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"gantry/server/api/reference"
	"gantry/server/api/route"
)

// untried are calls whose example needs what a fresh installation can't have, with why.
var untried = map[string]string{
	"events":              "a stream that does not end",
	"getSysuserByUuid":    "the uuid is drawn at the first start",
	"deleteSysUserById":   "there is one administrator, who may not go",
	"loginDo":             "the password is drawn at the first start",
	"changePassword":      "the password is drawn at the first start",
	"enableSecondFactor":  "the code comes from a device",
	"disableSecondFactor": "the code comes from a device",
	"installControlled":   "needs a node with an SSH server",
	"unDelete":            "needs a machine in the recycle bin",
	"retryTask":           "needs a stuck task",
	"adoptVm":             "needs a guest that is not Gantry's",
}

func TestTheReferenceIsCurrent(t *testing.T) {
	f := open(t)
	wanted, err := reference.Markdown(f.handler.Routes())
	check(t, err)
	page, err := os.ReadFile("../../docs/api.md")
	check(t, err)
	if string(page) != string(wanted) {
		t.Error("docs/api.md is not what the route table says: go run ./docs/reference >docs/api.md")
	}
	if strings.Contains(string(page), adminPath) {
		t.Error("tells an admin path")
	}
}

// TestTheExamplesOfTheReferenceWork sends each of them to an installation like the demo's.
func TestTheExamplesOfTheReferenceWork(t *testing.T) {
	reads, machine := documentedFixture(t)
	for _, each := range reads.handler.Routes() {
		if _, left := untried[each.Name]; left {
			continue
		}
		f, vm := reads, machine
		if each.Writes() {
			f, vm = documentedFixture(t)
		}
		request, err := reference.Example(each)
		check(t, err)
		body, err := request.JSON()
		check(t, err)
		fill := strings.NewReplacer("$ADMIN", adminPath, `"`+reference.Machine+`"`, fmt.Sprint(vm), reference.Machine, fmt.Sprint(vm))
		header := map[string]string{}
		switch each.Auth {
		case route.Admin:
			header["Authorization"] = f.token
		case route.APIKey:
			header["Authorization"] = f.basic
		}
		if got := f.send(t, request.Method, fill.Replace(request.Path), header, fill.Replace(body)); got.Code != route.CodeSuccess {
			t.Errorf("%s: %s %s %s: %s", each.Name, request.Method, request.Path, body, got.text)
		}
	}
}
