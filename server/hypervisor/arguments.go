package hypervisor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gantry/server/broker"
)

// Arguments are the QEMU arguments for what spec.Hardware shows and a hypervisor has no option for: one word each, as execve takes
// them. SMBIOS tables of type 1 are not among them: they carry the owner mark, too.
func (spec GuestSpec) Arguments() []string {
	var words []string
	if spec.Hardware.CPU != nil {
		words = append(words, "-cpu", cpuArgument(spec))
	}
	for _, table := range spec.Hardware.SMBIOS {
		if table.Type != 1 {
			words = append(words, "-smbios", smbiosArgument(table))
		}
	}
	return words
}

// cpuArgument is the value of -cpu: a CPU type with properties (qemu-system-x86_64 -cpu TYPE,help). QEMU splits it at every comma and
// knows no way to quote one: checkHardware refuses them.
func cpuArgument(spec GuestSpec) string {
	model := spec.Hardware.CPU
	kind := spec.CPUType
	if kind == "" {
		kind = "kvm64"
	}
	var value strings.Builder
	value.WriteString(kind)
	property := func(name, text string) {
		if text != "" {
			value.WriteString("," + name + "=" + text)
		}
	}
	number := func(name string, number *int) {
		if number != nil {
			property(name, strconv.Itoa(*number))
		}
	}
	property("model-id", model.Name)
	number("family", model.Family)
	number("model", model.Model)
	number("stepping", model.Stepping)
	property("level", model.Level)
	property("xlevel", model.XLevel)
	property("vendor", model.Vendor)
	if model.L3Cache != nil {
		property("l3-cache", map[bool]string{true: "on", false: "off"}[*model.L3Cache])
	}
	if spec.HideHypervisor {
		property("hypervisor", "off")
		property("kvm", "off")
	}
	return value.String()
}

func smbiosArgument(table broker.SMBIOSModel) string {
	var value strings.Builder
	fmt.Fprintf(&value, "type=%d", table.Type)
	for _, field := range broker.SMBIOSFields()[table.Type] { // in a fixed order, and none that QEMU does not have
		if text := table.Fields[field]; text != "" {
			value.WriteString("," + field + "=" + quoteOption(text))
		}
	}
	return value.String()
}

// quoteOption writes a value into QEMU's comma-separated options, where a comma is doubled (qemu(1), "Standard options").
func quoteOption(value string) string { return strings.ReplaceAll(value, ",", ",,") }

// SystemTable is the SMBIOS table of type 1 of spec.Hardware; nil when it has none.
func (spec GuestSpec) SystemTable() map[string]string {
	at := slices.IndexFunc(spec.Hardware.SMBIOS, func(table broker.SMBIOSModel) bool { return table.Type == 1 })
	if at < 0 {
		return nil
	}
	return spec.Hardware.SMBIOS[at].Fields
}

// checkHardware refuses values that would be read as something else on the way to QEMU.
func checkHardware(hardware broker.GuestHardware) error {
	if cpu := hardware.CPU; cpu != nil {
		for field, value := range map[string]string{"name": cpu.Name, "level": cpu.Level, "xlevel": cpu.XLevel, "vendor": cpu.Vendor} {
			if strings.Contains(value, ",") || hasControl(value) {
				return broker.InvalidField("hardware.cpu."+field, "has a comma or a control character")
			}
		}
	}
	for _, table := range hardware.SMBIOS {
		for field, value := range table.Fields {
			if hasControl(value) {
				return broker.InvalidField("hardware.smbios."+field, "has a control character")
			}
		}
	}
	return nil
}
