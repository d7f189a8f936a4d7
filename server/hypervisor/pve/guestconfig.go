package pve

import (
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"gantry/server/hypervisor"
)

// guestConfig is GET …/config. PVE gives some integers as numbers and some as strings ("memory"), so all is read as text.
type guestConfig map[string]any

// empty tells that the configuration says nothing: it is what remains of an interrupted create when its lock is removed.
func (c guestConfig) empty() bool {
	for key := range c {
		if key != "digest" {
			return false
		}
	}
	return true
}

func (c guestConfig) text(key string) string {
	switch value := c[key].(type) {
	case string:
		return value
	case float64:
		return decimal(value)
	case bool:
		if value {
			return "1"
		}
		return "0"
	}
	return ""
}

func (c guestConfig) integer(key string, missing int) int {
	value, err := strconv.Atoi(c.text(key))
	if err != nil {
		return missing
	}
	return value
}

var (
	diskKey   = regexp.MustCompile(`^(ide|sata|scsi|virtio)([0-9]{1,2})$`)
	unusedKey = regexp.MustCompile(`^unused([0-9]{1,3})$`)
)

// disks are the guest's disks in PVE's order; drives for CDs and cloud-init are left out.
func (c guestConfig) disks() []hypervisor.GuestDisk {
	var out []hypervisor.GuestDisk
	for key := range c {
		if !diskKey.MatchString(key) {
			continue
		}
		drive := parseProperties(c.text(key))
		volume := driveVolume(drive)
		if volume == "none" || volume == "" || drive.get("media") == "cdrom" {
			continue
		}
		out = append(out, hypervisor.GuestDisk{Key: key, Volume: volume, SizeBytes: parseSize(drive.get("size"))})
	}
	slices.SortFunc(out, func(a, b hypervisor.GuestDisk) int { return compareNumbered(a.Key, b.Key) })
	return out
}

// driveVolume is a drive's volume: the default key, which may be spelled out as file= or volume=.
func driveVolume(drive properties) string {
	for _, key := range []string{"", "file", "volume"} {
		if value := drive.get(key); value != "" {
			return value
		}
	}
	return ""
}

// detached maps the volumes that the guest owns but does not use to their unusedN.
func (c guestConfig) detached() map[string]string {
	out := map[string]string{}
	for key := range c {
		if unusedKey.MatchString(key) {
			out[driveVolume(parseProperties(c.text(key)))] = key
		}
	}
	return out
}

func (c guestConfig) detachedVolumes() []string {
	byVolume := c.detached()
	volumes := make([]string, 0, len(byVolume))
	for volume := range byVolume {
		volumes = append(volumes, volume)
	}
	sort.Slice(volumes, func(i, j int) bool { return compareNumbered(byVolume[volumes[i]], byVolume[volumes[j]]) < 0 })
	if len(volumes) == 0 {
		return nil
	}
	return volumes
}

// compareNumbered orders scsi2 before scsi10.
func compareNumbered(a, b string) int {
	wordA, wordB := strings.TrimRight(a, "0123456789"), strings.TrimRight(b, "0123456789")
	if wordA != wordB {
		return strings.Compare(wordA, wordB)
	}
	numberA, _ := strconv.Atoi(a[len(wordA):])
	numberB, _ := strconv.Atoi(b[len(wordB):])
	return numberA - numberB
}

// guestStatus is what we need of GET …/status/current.
type guestStatus struct {
	Status    string `json:"status"`
	QMPStatus string `json:"qmpstatus"`
	Lock      string `json:"lock"`
}

// power maps PVE's two states and the lock. A guest that was suspended to disk is stopped with the lock "suspended".
func (s guestStatus) power() hypervisor.Power {
	switch {
	case s.Status == "stopped" && s.Lock == "suspended":
		return hypervisor.PowerSuspended
	case s.Status == "stopped":
		return hypervisor.PowerStopped
	case s.Status != "running":
		return hypervisor.PowerUnknown
	}
	switch s.QMPStatus {
	case "paused", "prelaunch", "suspended":
		return hypervisor.PowerPaused
	}
	return hypervisor.PowerRunning
}
