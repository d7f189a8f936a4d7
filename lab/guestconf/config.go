// Package guestconf reads and writes QEMU guest configurations in the form that Proxmox VE keeps them: the current section,
// [PENDING] and one section for each snapshot.
package guestconf

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// Section holds options as text.
type Section map[string]string

// Config is one guest's configuration file.
type Config struct {
	Values Section
	// Pending are changes that the running guest could not take.
	Pending Section
	// PendingDelete are options to delete; the value tells to destroy the volume too (force).
	PendingDelete map[string]bool
	// Cloudinit are the options as the last generated cloud-init drive has them.
	Cloudinit Section
	Snapshots map[string]Section
}

// New makes an empty configuration.
func New() *Config {
	return &Config{Values: Section{}, Pending: Section{}, PendingDelete: map[string]bool{}, Cloudinit: Section{},
		Snapshots: map[string]Section{}}
}

// Clone copies a configuration deeply.
func (c *Config) Clone() *Config {
	copied := &Config{Values: maps.Clone(c.Values), Pending: maps.Clone(c.Pending), PendingDelete: maps.Clone(c.PendingDelete),
		Cloudinit: maps.Clone(c.Cloudinit), Snapshots: make(map[string]Section, len(c.Snapshots))}
	for name, section := range c.Snapshots {
		copied.Snapshots[name] = maps.Clone(section)
	}
	return copied
}

// Render writes the file's text.
func (c *Config) Render() string {
	var text strings.Builder
	c.Values.render(&text)
	if len(c.Pending) > 0 || len(c.PendingDelete) > 0 {
		text.WriteString("\n[PENDING]\n")
		if len(c.PendingDelete) > 0 {
			keys := slices.Sorted(maps.Keys(c.PendingDelete))
			for i, key := range keys {
				if c.PendingDelete[key] {
					keys[i] = "!" + key
				}
			}
			text.WriteString("delete: " + strings.Join(keys, ",") + "\n")
		}
		c.Pending.render(&text)
	}
	if len(c.Cloudinit) > 0 {
		text.WriteString("\n[special:cloudinit]\n")
		c.Cloudinit.render(&text)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Snapshots)) {
		text.WriteString("\n[" + name + "]\n")
		c.Snapshots[name].render(&text)
	}
	return text.String()
}

func (s Section) render(text *strings.Builder) {
	if description, ok := s["description"]; ok {
		for line := range strings.SplitSeq(description, "\n") {
			text.WriteString("#" + url.PathEscape(line) + "\n")
		}
	}
	keys := slices.Sorted(maps.Keys(s))
	for _, key := range keys {
		if key != "description" {
			text.WriteString(key + ": " + strings.ReplaceAll(s[key], "\n", "%0A") + "\n")
		}
	}
}

// Digest is the SHA-1 by which PVE notices changes by others.
func (c *Config) Digest() string {
	sum := sha1.Sum([]byte(c.Render()))
	return hex.EncodeToString(sum[:])
}

var sectionHead = regexp.MustCompile(`^\[([^\]]+)\]$`)

// Parse reads a file. Lines that are no option are skipped, as PVE does with a warning.
func Parse(text string) *Config {
	config := New()
	section := config.Values
	pending := false
	for line := range strings.SplitSeq(text, "\n") {
		if head := sectionHead.FindStringSubmatch(line); head != nil {
			pending = head[1] == "PENDING"
			switch head[1] {
			case "PENDING":
				section = config.Pending
			case "special:cloudinit":
				section = config.Cloudinit
			default:
				section = Section{}
				config.Snapshots[head[1]] = section
			}
			continue
		}
		if comment, ok := strings.CutPrefix(line, "#"); ok {
			plain, err := url.PathUnescape(comment)
			if err != nil {
				plain = comment
			}
			if old, more := section["description"]; more {
				plain = old + "\n" + plain
			}
			section["description"] = plain
			continue
		}
		key, value, found := strings.Cut(line, ": ")
		if !found || key == "" {
			continue
		}
		if pending && key == "delete" {
			for name := range strings.SplitSeq(value, ",") {
				plain, force := strings.CutPrefix(name, "!")
				config.PendingDelete[plain] = force
			}
			continue
		}
		section[key] = strings.ReplaceAll(value, "%0A", "\n")
	}
	return config
}

// Effective are the values with the pending changes applied, what the next start will see.
func (c *Config) Effective() Section {
	values := maps.Clone(c.Values)
	for key := range c.PendingDelete {
		delete(values, key)
	}
	maps.Copy(values, c.Pending)
	return values
}

// DropUsed removes each unusedN whose volume is that of a drive, now or by a pending change. PVE does so whenever it writes the file.
func (c *Config) DropUsed() {
	used := map[string]bool{}
	for _, section := range []Section{c.Values, c.Pending} {
		for _, key := range section.Drives() {
			used[ParseDrive(key, section[key]).File] = true
		}
	}
	for _, key := range c.Values.Unused() {
		if used[c.Values[key]] {
			delete(c.Values, key)
		}
	}
}

var driveKey = regexp.MustCompile(`^(ide[0-3]|sata[0-5]|scsi([12]?\d|30)|virtio(\d|1[0-5])|efidisk0|tpmstate0)$`)

// IsDrive tells whether the option names a drive.
func IsDrive(key string) bool { return driveKey.MatchString(key) }

var unusedKey = regexp.MustCompile(`^unused\d+$`)

// IsUnused tells whether the option names a volume that no drive uses.
func IsUnused(key string) bool { return unusedKey.MatchString(key) }

var netKey = regexp.MustCompile(`^net\d+$`)

// IsNet tells whether the option names a network device.
func IsNet(key string) bool { return netKey.MatchString(key) }

// Drives returns the keys of all drives in a stable order.
func (s Section) Drives() []string { return s.keys(IsDrive) }

// Nets returns the keys of all network devices in a stable order.
func (s Section) Nets() []string { return s.keys(IsNet) }

// Unused returns the keys of all unused volumes.
func (s Section) Unused() []string { return s.keys(IsUnused) }

func (s Section) keys(wanted func(string) bool) []string {
	var keys []string
	for key := range s {
		if wanted(key) {
			keys = append(keys, key)
		}
	}
	sort.Slice(keys, func(a, b int) bool {
		prefixA, numberA := splitNumber(keys[a])
		prefixB, numberB := splitNumber(keys[b])
		if prefixA != prefixB {
			return prefixA < prefixB
		}
		return numberA < numberB
	})
	return keys
}

func splitNumber(key string) (string, int) {
	at := strings.IndexAny(key, "0123456789")
	if at < 0 {
		return key, 0
	}
	number := 0
	_, _ = fmt.Sscanf(key[at:], "%d", &number)
	return key[:at], number
}

// AddUnused records a volume under the first free unusedN, unless it is there, and returns the key.
func (s Section) AddUnused(volid string) string {
	for _, key := range s.Unused() {
		if s[key] == volid {
			return key
		}
	}
	for number := 0; ; number++ {
		key := fmt.Sprintf("unused%d", number)
		if _, taken := s[key]; !taken {
			s[key] = volid
			return key
		}
	}
}

// Boot returns the boot order. Without an order= the legacy default is the first drive and network device.
func (s Section) Boot() []string {
	if order, ok := strings.CutPrefix(s["boot"], "order="); ok {
		return strings.FieldsFunc(order, func(r rune) bool { return r == ';' })
	}
	var order []string
	for _, key := range s.Drives() {
		if IsBootable(key) && !s.Drive(key).IsCDROM() {
			order = append(order, key)
			break
		}
	}
	for _, key := range s.Drives() {
		if IsBootable(key) && s.Drive(key).IsCDROM() {
			order = append(order, key)
		}
	}
	if nets := s.Nets(); len(nets) > 0 {
		order = append(order, nets[0])
	}
	return order
}

// IsBootable tells whether the drive may be in the boot order.
func IsBootable(key string) bool { return IsDrive(key) && key != "efidisk0" && key != "tpmstate0" }
