package lab_test

import (
	"testing"

	"gantry/lab"
)

// Roles as $privgroups of PVE::AccessControl makes them: what only root's roles have is Realm.Allocate and some of Sys.
func TestBuiltinRoles(t *testing.T) {
	c := newClient(t, startLab(t, lab.Config{}))
	for _, fact := range []struct {
		role, privilege string
		has             bool
	}{
		{"PVEDatastoreAdmin", "Datastore.Allocate", true},
		{"PVEDatastoreAdmin", "Datastore.AllocateTemplate", true},
		{"PVEDatastoreUser", "Datastore.Allocate", false},
		{"PVEDatastoreUser", "Datastore.AllocateSpace", true},
		{"PVEAdmin", "Datastore.Allocate", true},
		{"PVEAdmin", "Sys.Modify", false},
		{"PVEAdmin", "Realm.Allocate", false},
		{"Administrator", "Datastore.Allocate", true},
		{"Administrator", "Permissions.Modify", true},
		{"PVEAuditor", "Datastore.Allocate", false},
	} {
		role, _ := c.ok("GET", "/access/roles/"+fact.role).(map[string]any)
		if has := role[fact.privilege] != nil; has != fact.has {
			t.Errorf("%s has %s: %v, want %v", fact.role, fact.privilege, has, fact.has)
		}
	}
}
