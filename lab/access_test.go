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

// Each option of a guest needs the privilege that $check_vm_modify_config_perm of PVE::API2::Qemu names.
func TestOptionPrivileges(t *testing.T) {
	c := newClient(t, startLab(t, lab.Config{}))
	c.must(c.task("POST", "/nodes/pve1/qemu", "vmid", "100", "scsi0", "local:1"), "OK")
	c.ok("POST", "/access/roles", "roleid", "Audit", "privs", "VM.Config.CDROM")
	c.ok("POST", "/access/users", "userid", "a@pve")
	c.ok("PUT", "/access/acl", "path", "/", "roles", "Audit", "users", "a@pve")
	made, _ := c.ok("POST", "/access/users/a@pve/token/test", "privsep", "0").(map[string]any)
	a := c.as("a@pve!test=" + made["value"].(string))
	for _, fact := range []struct{ option, value, need string }{
		{"name", "x", "VM.Config.Options"},
		{"onboot", "1", "VM.Config.Options"},
		{"boot", "order=scsi0", "VM.Config.Disk"},
		{"vmstatestorage", "local", "VM.Config.Disk"},
		{"freeze", "1", "VM.PowerMgmt"},
		{"cores", "2", "VM.Config.CPU"},
		{"memory", "256", "VM.Config.Memory"},
		{"net0", "virtio,bridge=vmbr0", "VM.Config.Network"},
		{"scsi0", "local:1", "VM.Config.Disk"},
		{"acpi", "0", "VM.Config.HWType"},
		{"ciuser", "joe", "VM.Config.Cloudinit|VM.Config.Network"},
	} {
		answer := a.call("PUT", "/nodes/pve1/qemu/100/config", fact.option, fact.value)
		if want := "Permission check failed (/vms/100, " + fact.need + ")"; answer.Reason != want {
			t.Errorf("%s: %d %s, want %s", fact.option, answer.Status, answer.Reason, want)
		}
	}
}
