package schema

import "errors"

// propertyFormats are the registered property-string formats that the API dump gives by name only. Source: qemu-server
// PVE/QemuServer.pm, CPUConfig.pm and guest-common.
var propertyFormats = map[string]map[string]*Property{
	"pve-qm-boot": {
		"legacy": {Type: "string", Optional: true, DefaultKey: true, Pattern: `[acdn]{1,4}`},
		"order":  {Type: "string", Optional: true, Format: &Format{Name: "pve-qm-bootdev-list"}},
	},
	"pve-qm-smbios1": {
		"uuid":         {Type: "string", Optional: true, Pattern: `[a-fA-F0-9]{8}(?:-[a-fA-F0-9]{4}){3}-[a-fA-F0-9]{12}`},
		"version":      base64Text(),
		"serial":       base64Text(),
		"manufacturer": base64Text(),
		"product":      base64Text(),
		"sku":          base64Text(),
		"family":       base64Text(),
		"base64":       {Type: "boolean", Optional: true},
	},
	"pve-qm-ipconfig": {
		"ip":  {Type: "string", Optional: true, Format: &Format{Name: "pve-ipv4-config"}},
		"gw":  {Type: "string", Optional: true, Format: &Format{Name: "ipv4"}, Requires: "ip"},
		"ip6": {Type: "string", Optional: true, Format: &Format{Name: "pve-ipv6-config"}},
		"gw6": {Type: "string", Optional: true, Format: &Format{Name: "ipv6"}, Requires: "ip6"},
	},
	"pve-startup-order": {
		"order": {Type: "integer", Optional: true, DefaultKey: true},
		"up":    {Type: "integer", Optional: true},
		"down":  {Type: "integer", Optional: true},
	},
	"pve-vm-cpu-conf": {
		"cputype":         {Type: "string", DefaultKey: true, Pattern: `(custom-)?[A-Za-z0-9][A-Za-z0-9._-]*`},
		"reported-model":  {Type: "string", Optional: true},
		"hidden":          {Type: "boolean", Optional: true},
		"hv-vendor-id":    {Type: "string", Optional: true, Pattern: `[a-zA-Z0-9]{1,12}`},
		"flags":           {Type: "string", Optional: true, Pattern: `[+-][a-zA-Z0-9\-_.]+(;[+-][a-zA-Z0-9\-_.]+)*`},
		"phys-bits":       {Type: "string", Optional: true, Pattern: `(host|\d{1,2})`},
		"guest-phys-bits": {Type: "integer", Optional: true},
	},
	"pve-qm-cicustom": {
		"meta":    {Type: "string", Optional: true, Format: &Format{Name: "pve-volume-id"}},
		"network": {Type: "string", Optional: true, Format: &Format{Name: "pve-volume-id"}},
		"user":    {Type: "string", Optional: true, Format: &Format{Name: "pve-volume-id"}},
		"vendor":  {Type: "string", Optional: true, Format: &Format{Name: "pve-volume-id"}},
	},
	"pve-qm-rng": {
		"source":    {Type: "string", DefaultKey: true, Enum: []any{"/dev/urandom", "/dev/random", "/dev/hwrng"}},
		"max_bytes": {Type: "integer", Optional: true},
		"period":    {Type: "integer", Optional: true},
	},
	"pve-qm-watchdog": {
		"model":  {Type: "string", DefaultKey: true, Enum: []any{"i6300esb", "ib700"}},
		"action": {Type: "string", Optional: true, Enum: []any{"reset", "shutdown", "poweroff", "pause", "debug", "none"}},
	},
}

func base64Text() *Property {
	return &Property{Type: "string", Optional: true, Pattern: `[A-Za-z0-9+/]+={0,2}`}
}

func ipv4Config(text string) error {
	if text == "dhcp" || prefix(text) == nil {
		return nil
	}
	return errors.New("value does not look like a valid ipv4 network configuration")
}

func ipv6Config(text string) error {
	if text == "dhcp" || text == "auto" || prefix(text) == nil {
		return nil
	}
	return errors.New("value does not look like a valid ipv6 network configuration")
}

func bootDevices(text string) error {
	for _, device := range SplitList(text) {
		if !bootDevice.MatchString(device) {
			return errors.New("invalid boot device '" + device + "'")
		}
	}
	return nil
}
