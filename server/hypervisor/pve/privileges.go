package pve

import (
	"fmt"
	"slices"
	"strings"

	"github.com/luthermonson/go-proxmox"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// privilege is one that Gantry uses, the path it must hold on with everything below, and a role of PVE's that has it ("" = only
// Administrator, which is too much to ask for).
type privilege struct {
	name, path, role string
	// use and useZH say what does not work without an optional one; "" = nothing works without it.
	use, useZH string
	// since and until bound PVE's major versions that have it; 0 = no bound.
	since, until int
	// or are privileges that do as well.
	or []privilege
}

// privileges are taken from the permissions in PVE's API schema for the calls of this driver.
var privileges = []privilege{
	{name: "VM.Audit", path: "/vms", role: "PVEVMAdmin"},
	{name: "VM.Allocate", path: "/vms", role: "PVEVMAdmin"},
	{name: "VM.PowerMgmt", path: "/vms", role: "PVEVMAdmin"},
	{name: "VM.Config.CDROM", path: "/vms", role: "PVEVMAdmin"},
	{name: "VM.Config.CPU", path: "/vms", role: "PVEVMAdmin"},
	{name: "VM.Config.Cloudinit", path: "/vms", role: "PVEVMAdmin"},
	{name: "VM.Config.Disk", path: "/vms", role: "PVEVMAdmin"},
	{name: "VM.Config.HWType", path: "/vms", role: "PVEVMAdmin"},
	{name: "VM.Config.Memory", path: "/vms", role: "PVEVMAdmin"},
	{name: "VM.Config.Network", path: "/vms", role: "PVEVMAdmin"},
	{name: "VM.Config.Options", path: "/vms", role: "PVEVMAdmin"},
	{name: "VM.Console", path: "/vms", role: "PVEVMAdmin", use: "the console", useZH: "控制台"},
	{name: "VM.Snapshot", path: "/vms", role: "PVEVMAdmin", use: "snapshots", useZH: "快照"},
	{name: "VM.Snapshot.Rollback", path: "/vms", role: "PVEVMAdmin", use: "going back to snapshots", useZH: "快照回滚"},
	{name: "VM.Backup", path: "/vms", role: "PVEVMAdmin", use: "backups", useZH: "备份"},
	{name: "VM.Monitor", path: "/vms", role: "PVEVMAdmin", use: "the guest agent", useZH: "客户机代理", until: 8},
	{name: "VM.GuestAgent.Audit", path: "/vms", role: "PVEVMAdmin", use: "the guest agent", useZH: "客户机代理", since: 9},
	{name: "VM.GuestAgent.Unrestricted", path: "/vms", role: "PVEVMAdmin", use: "setting passwords in running guests", useZH: "在运行中的客户机内重设密码", since: 9},
	{name: "Datastore.AllocateSpace", path: "/storage", role: "PVEDatastoreAdmin"},
	{name: "Datastore.Audit", path: "/storage", role: "PVEDatastoreAdmin"},
	{name: "Datastore.AllocateTemplate", path: "/storage", role: "PVEDatastoreAdmin", use: "image downloads by the node", useZH: "由节点下载镜像"},
	{name: "Datastore.Allocate", path: "/storage", role: "PVEDatastoreAdmin", use: "deleting images", useZH: "删除镜像"},
	{name: "Sys.Audit", path: "/nodes", role: "PVEAuditor"},
	{name: "Sys.AccessNetwork", path: "/nodes", use: "image downloads by the node", useZH: "由节点下载镜像",
		or: []privilege{{name: "Sys.Modify", path: "/"}}},
	{name: "SDN.Use", path: "/sdn", role: "PVESDNUser"},
}

func (p privilege) existsIn(version string) bool {
	return (p.since == 0 || atLeast(version, p.since, 0)) && (p.until == 0 || !atLeast(version, p.until+1, 0))
}

// heldBy looks in GET /access/permissions. The value is 1 when it holds for everything below the path, too, which is needed: guests
// to come have paths of their own.
func (p privilege) heldBy(permissions proxmox.Permissions) bool {
	for _, path := range []string{p.path, "/"} {
		if bool(permissions[path][p.name]) {
			return true
		}
	}
	return slices.ContainsFunc(p.or, func(other privilege) bool { return other.heldBy(permissions) })
}

// missingPrivileges lists what the credential lacks.
func missingPrivileges(version string, permissions proxmox.Permissions, who string) []hypervisor.Problem {
	var problems []hypervisor.Problem
	if strings.Contains(who, "!") && len(permissions) == 0 {
		problems = append(problems, separatedToken(who))
	}
	for _, each := range privileges {
		if each.existsIn(version) && !each.heldBy(permissions) {
			problems = append(problems, each.problem(who))
		}
	}
	return problems
}

// separatedToken explains the usual mistake: a token made with "Privilege Separation" has no privileges but those given to itself.
func separatedToken(who string) hypervisor.Problem {
	user, _, _ := strings.Cut(who, "!")
	return hypervisor.Problem{Reason: "token_without_privileges", Fatal: true, Text: map[broker.Language]string{
		broker.English: fmt.Sprintf("API token %s has no privileges of its own: it was made with privilege separation. Give the roles below to the token as well as to user %s, "+
			"or make the token again without \"Privilege Separation\".", who, user),
		broker.Chinese: fmt.Sprintf("API 令牌 %s 没有任何权限：创建时启用了“特权分离”。请将下列角色同时授予该令牌和用户 %s，或取消勾选“特权分离”后重新创建令牌。", who, user),
	}}
}

func (p privilege) problem(who string) hypervisor.Problem {
	kind := "--users"
	if strings.Contains(who, "!") {
		kind = "--tokens"
	}
	role, command := p.role, ""
	if role == "" {
		role = "GantryNetwork"
		command = fmt.Sprintf("pveum role add %s --privs %s && ", role, p.name)
	}
	command += fmt.Sprintf("pveum acl modify %s %s '%s' --roles %s", p.path, kind, who, role)
	english := fmt.Sprintf("%s is missing on %s: give %s a role that has it, e.g. %s (%s).", p.name, p.path, who, role, command)
	chinese := fmt.Sprintf("%[2]s 缺少权限 %[1]s：请为 %[3]s 授予包含该权限的角色，例如 %[4]s（%[5]s）。", p.name, p.path, who, role, command)
	if p.use != "" {
		english += " Without it " + p.use + " does not work."
		chinese += "缺少该权限时无法使用" + p.useZH + "。"
	}
	return hypervisor.Problem{Reason: "missing_privilege", Fatal: p.use == "", Text: map[broker.Language]string{broker.English: english, broker.Chinese: chinese}}
}
