package guestconf

import (
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Drive is one disk or CD-ROM: the volume (or "none", "cdrom", or STORAGE:GIB for a new one) and its options.
type Drive struct {
	Key     string
	File    string
	Options map[string]string
}

// ParseDrive splits a drive option. The text was checked against the schema before.
func ParseDrive(key, text string) Drive {
	drive := Drive{Key: key, Options: map[string]string{}}
	for part := range strings.SplitSeq(text, ",") {
		name, value, found := strings.Cut(part, "=")
		switch {
		case part == "":
		case !found:
			drive.File = part
		case name == "file" || name == "volume":
			drive.File = value
		default:
			drive.Options[name] = value
		}
	}
	return drive
}

// Drive parses the option with that key.
func (s Section) Drive(key string) Drive { return ParseDrive(key, s[key]) }

func (d Drive) String() string {
	parts := []string{d.File}
	for _, name := range slices.Sorted(maps.Keys(d.Options)) {
		parts = append(parts, name+"="+d.Options[name])
	}
	return strings.Join(parts, ",")
}

// Clone copies the drive with its options.
func (d Drive) Clone() Drive {
	d.Options = maps.Clone(d.Options)
	return d
}

// IsCDROM tells whether the drive holds removable media.
func (d Drive) IsCDROM() bool { return d.Options["media"] == "cdrom" }

// IsCloudinit tells whether the drive is the generated cloud-init drive.
func (d Drive) IsCloudinit() bool {
	_, volume, _ := strings.Cut(d.File, ":")
	return volume == "cloudinit" || strings.Contains(d.File, "-cloudinit")
}

// HasVolume tells whether the drive holds a volume of a storage.
func (d Drive) HasVolume() bool {
	return d.File != "" && d.File != "none" && d.File != "cdrom" && !strings.HasPrefix(d.File, "/")
}

// Size returns the recorded size in bytes, 0 when there is none.
func (d Drive) Size() int64 { return ParseSize(d.Options["size"]) }

// ParseSize reads PVE's sizes: a number with K, M, G or T, in powers of 1024. Bad text is 0.
func ParseSize(text string) int64 {
	if text == "" {
		return 0
	}
	unit := float64(1)
	switch text[len(text)-1] {
	case 'K':
		unit = 1 << 10
	case 'M':
		unit = 1 << 20
	case 'G':
		unit = 1 << 30
	case 'T':
		unit = 1 << 40
	}
	number, err := strconv.ParseFloat(strings.TrimRight(text, "KMGT"), 64)
	if err != nil || number < 0 || number*unit > 1<<62 {
		return 0
	}
	return int64(number * unit)
}

// FormatSize writes bytes in the largest unit that divides them.
func FormatSize(bytes int64) string {
	for _, unit := range []string{"", "K", "M", "G"} {
		if bytes%1024 != 0 || bytes == 0 {
			return strconv.FormatInt(bytes, 10) + unit
		}
		bytes /= 1024
	}
	return strconv.FormatInt(bytes, 10) + "T"
}

// Net is one network device.
type Net struct {
	Key, Model, MAC, Bridge string
	Options                 map[string]string // without model, macaddr and bridge
}

var models = map[string]bool{"e1000": true, "e1000-82540em": true, "e1000-82544gc": true, "e1000-82545em": true, "e1000e": true,
	"i82551": true, "i82557b": true, "i82559er": true, "ne2k_isa": true, "ne2k_pci": true, "pcnet": true, "rtl8139": true,
	"virtio": true, "vmxnet3": true}

// ParseNet splits a network option.
func ParseNet(key, text string) Net {
	net := Net{Key: key, Options: map[string]string{}}
	for part := range strings.SplitSeq(text, ",") {
		name, value, found := strings.Cut(part, "=")
		switch {
		case part == "":
		case !found, name == "model":
			net.Model = cmpOr(value, name)
		case models[name]:
			net.Model, net.MAC = name, value
		case name == "macaddr":
			net.MAC = value
		case name == "bridge":
			net.Bridge = value
		default:
			net.Options[name] = value
		}
	}
	return net
}

func cmpOr(first, second string) string {
	if first != "" {
		return first
	}
	return second
}

func (n Net) String() string {
	text := n.Model
	if n.MAC != "" {
		text += "=" + n.MAC
	}
	options := maps.Clone(n.Options)
	if n.Bridge != "" {
		options["bridge"] = n.Bridge
	}
	for _, name := range slices.Sorted(maps.Keys(options)) {
		text += "," + name + "=" + options[name]
	}
	return text
}

// NewMAC makes a random address with Proxmox's prefix BC:24:11.
func NewMAC() string {
	raw := make([]byte, 3)
	if _, err := rand.Read(raw); err != nil {
		return "BC:24:11:00:00:01"
	}
	return fmt.Sprintf("BC:24:11:%02X:%02X:%02X", raw[0], raw[1], raw[2])
}

// Properties splits a key=value,… option whose first part may have no key.
func Properties(text, defaultKey string) map[string]string {
	values := map[string]string{}
	for part := range strings.SplitSeq(text, ",") {
		name, value, found := strings.Cut(part, "=")
		if part == "" {
			continue
		}
		if !found {
			name, value = defaultKey, part
		}
		values[name] = value
	}
	return values
}

// Int reads an integer option, or fallback when it is unset.
func (s Section) Int(key string, fallback int) int {
	number, err := strconv.Atoi(s[key])
	if err != nil {
		return fallback
	}
	return number
}

// Flag reads a boolean option.
func (s Section) Flag(key string) bool { return s[key] == "1" }

// AgentEnabled tells whether option agent has the guest agent on.
func (s Section) AgentEnabled() bool {
	switch Properties(s["agent"], "enabled")["enabled"] {
	case "1", "on", "yes", "true":
		return true
	}
	return false
}

// MemoryMB is the configured memory; PVE's default is 512.
func (s Section) MemoryMB() int {
	number, err := strconv.Atoi(Properties(s["memory"], "current")["current"])
	if err != nil || number <= 0 {
		return 512
	}
	return number
}
