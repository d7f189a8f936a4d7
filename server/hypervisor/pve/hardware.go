package pve

import (
	"encoding/base64"
	"strings"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// argumentsAllowed: PVE lets nobody but root@pam itself set args, not even its tokens (PVE::API2::Qemu, check_vm_modify_config_perm).
func (o options) argumentsAllowed() bool { return o.tokenID == "" && o.user == "root@pam" }

// smbios is the value of smbios1: the owner mark, and the system table with its values in base64, so that none can be read as
// another option.
func smbios(spec hypervisor.GuestSpec) string {
	value := properties{{"uuid", spec.Ref.Owner}}
	table := spec.SystemTable()
	if len(table) == 0 {
		return value.String()
	}
	value = value.with("base64", "1")
	for _, field := range broker.SMBIOSFields()[1] {
		if text := table[field]; text != "" {
			value = value.with(field, base64.StdEncoding.EncodeToString([]byte(text)))
		}
	}
	return value.String()
}

// shellWords writes arguments so that Perl's Text::ParseWords::shellwords, which PVE splits args with, gives them back: in double quotes,
// where a backslash takes the next character as it is and nothing else is special. Single quotes would not do: a backslash in them takes
// the quote behind it along.
func shellWords(words []string) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = `"` + escape.Replace(word) + `"`
	}
	return strings.Join(quoted, " ")
}

func noArguments() error {
	return broker.Because(broker.Unsupported, broker.ReasonUnsupported, "raw QEMU arguments, which only root@pam with its password may set")
}

// changeProcessor writes cpu, args and the system table anew; the owner mark in smbios1 stays. args that are not set now are left out of
// the request unless they become so: naming them, even to delete them, is for root@pam only.
func changeProcessor(options map[string]string, config guestConfig, processor hypervisor.Processor) {
	spec := hypervisor.GuestSpec{
		CPUType: processor.CPUType, HideHypervisor: processor.HideHypervisor, Hardware: processor.Hardware,
		Ref: hypervisor.GuestRef{Owner: parseProperties(config.text("smbios1")).get("uuid")},
	}
	if config.text("kvm") == "0" {
		spec = withoutKVM(spec)
	}
	options["cpu"], options["smbios1"] = cpuType(spec), smbios(spec)
	if arguments := spec.Arguments(); len(arguments) > 0 || config.text("args") != "" {
		options["args"] = shellWords(arguments)
	}
}
