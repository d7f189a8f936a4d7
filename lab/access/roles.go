// Package access is PVE's access control: users, API tokens, tickets, roles, privileges and access control lists.
package access

import "sort"

// privilegeGroup mirrors $privgroups of PVE::AccessControl: what admins, users and auditors of one area may do.
type privilegeGroup struct{ root, admin, user, audit []string }

func privilegeGroups(major int) map[string]privilegeGroup {
	machine := privilegeGroup{
		admin: []string{"VM.Config.Disk", "VM.Config.CPU", "VM.Config.Memory", "VM.Config.Network", "VM.Config.HWType",
			"VM.Config.Options", "VM.Allocate", "VM.Clone", "VM.Migrate", "VM.Snapshot", "VM.Snapshot.Rollback"},
		user:  []string{"VM.Config.CDROM", "VM.Config.Cloudinit", "VM.Console", "VM.Backup", "VM.PowerMgmt"},
		audit: []string{"VM.Audit"},
	}
	if major == 8 {
		machine.admin = append(machine.admin, "VM.Monitor")
	} else {
		machine.admin = append(machine.admin, "VM.GuestAgent.Unrestricted", "VM.Replicate")
		machine.user = append(machine.user, "VM.GuestAgent.FileRead", "VM.GuestAgent.FileWrite", "VM.GuestAgent.FileSystemMgmt")
		machine.audit = append(machine.audit, "VM.GuestAgent.Audit")
	}
	return map[string]privilegeGroup{
		"VM": machine,
		"Sys": {root: []string{"Sys.PowerMgmt", "Sys.Modify", "Sys.Incoming", "Sys.AccessNetwork"},
			admin: []string{"Sys.Console", "Sys.Syslog"}, audit: []string{"Sys.Audit"}},
		"Datastore": {admin: []string{"Datastore.Allocate", "Datastore.AllocateTemplate"},
			user: []string{"Datastore.AllocateSpace"}, audit: []string{"Datastore.Audit"}},
		"SDN":  {admin: []string{"SDN.Allocate"}, user: []string{"SDN.Use"}, audit: []string{"SDN.Audit"}},
		"User": {root: []string{"Realm.Allocate"}, admin: []string{"User.Modify", "Group.Allocate", "Realm.AllocateUser"}},
		"Pool": {admin: []string{"Pool.Allocate"}, audit: []string{"Pool.Audit"}},
		"Mapping": {admin: []string{"Mapping.Modify"}, user: []string{"Mapping.Use"},
			audit: []string{"Mapping.Audit"}},
	}
}

// builtinRoles makes the special roles and the PVE… roles; the second result is the set of all privileges.
func builtinRoles(major int) (map[string]map[string]bool, map[string]bool) {
	all := map[string]bool{"Permissions.Modify": true}
	roles := map[string]map[string]bool{"NoAccess": {}, "Administrator": all, "PVEAdmin": {}, "PVEAuditor": {}}
	add := func(role string, lists ...[]string) {
		if roles[role] == nil {
			roles[role] = map[string]bool{}
		}
		for _, list := range lists {
			for _, privilege := range list {
				roles[role][privilege] = true
				all[privilege] = true
			}
		}
	}
	for area, group := range privilegeGroups(major) {
		add("Administrator", group.root)
		add("PVEAdmin", group.admin, group.user, group.audit)
		add("PVEAuditor", group.audit)
		if area == "Sys" {
			add("PVESysAdmin", group.admin, group.user, group.audit)
			continue
		}
		add("PVE"+area+"Admin", group.admin, group.user, group.audit)
		if len(group.user) > 0 {
			add("PVE"+area+"User", group.user, group.audit)
		}
	}
	add("PVEPoolUser", []string{"Pool.Audit"})
	add("PVETemplateUser", []string{"VM.Clone", "VM.Audit"})
	return roles, all
}

// Role is one role as the API lists it.
type Role struct {
	Name       string
	Privileges []string
	Special    bool
}

func sortedKeys[V any](set map[string]V) []string {
	names := make([]string, 0, len(set))
	for name := range set {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
