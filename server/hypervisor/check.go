package hypervisor

import (
	"net"
	"net/url"
	"path"
	"regexp"
	"strings"

	"gantry/server/broker"
)

// Ids that PVE takes; other hypervisors are held to the same so that a guest can be moved between kinds. Guests that Gantry makes end at
// MaxNewGuestID: hypervisors that number no guests themselves give the ids above it to guests that others made (libvirt).
const (
	MinGuestID    = 100
	MaxNewGuestID = 899_999_999
	MaxGuestID    = 999_999_999
)

var (
	ownerPattern    = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	namePattern     = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`)
	wordPattern     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
	diskPattern     = regexp.MustCompile(`^scsi([0-9]|1[0-9]|2[0-9]|30)$`)
	volumePattern   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*:[A-Za-z0-9_./@+-]{1,255}$`)
	filePattern     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.+-]{0,199}$`)
	checksumPattern = regexp.MustCompile(`^(sha256:[0-9a-fA-F]{64}|sha512:[0-9a-fA-F]{128})$`)
	userPattern     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.@-]{0,63}$`)
)

// CheckSpec refuses a spec that no hypervisor can take or whose texts could be read as something else on the way (commas and
// line breaks split PVE's property strings). The error is Invalid and names the field as GuestSpec spells it, lower case first.
func CheckSpec(spec GuestSpec) error {
	switch {
	case spec.Ref.ID < MinGuestID || spec.Ref.ID > MaxNewGuestID:
		return broker.InvalidField("id", "must be between %d and %d", MinGuestID, MaxNewGuestID)
	case !ownerPattern.MatchString(spec.Ref.Owner):
		return broker.InvalidField("owner", "must be a lower-case UUID")
	case !wordPattern.MatchString(spec.Ref.Node):
		return broker.InvalidField("node", "%q is not a node name", spec.Ref.Node)
	case spec.Sockets < 1 || spec.Sockets > 16:
		return broker.InvalidField("sockets", "must be between 1 and 16")
	case spec.Cores < 1 || spec.Cores > 1024:
		return broker.InvalidField("cores", "must be between 1 and 1024")
	case spec.MemoryMB < 16 || spec.MemoryMB > 16<<20:
		return broker.InvalidField("memoryMB", "must be between 16 and %d", 16<<20)
	case spec.CPUType != "" && !wordPattern.MatchString(spec.CPUType):
		return broker.InvalidField("cpuType", "%q is not a CPU type", spec.CPUType)
	case spec.Arch != "" && !wordPattern.MatchString(spec.Arch):
		return broker.InvalidField("arch", "%q is not an architecture", spec.Arch)
	case len(spec.Description) > 8192:
		return broker.InvalidField("description", "must be 8192 bytes at most")
	}
	checks := []func() error{
		func() error { return checkName(spec.Name) },
		func() error { return checkFamily(spec.OSFamily) },
		func() error { return checkPercent(spec.Limits.CPUPercent) },
		func() error { return checkDisks(spec.Disks) },
		func() error { return checkCloudInit(spec.CloudInit) },
		func() error { return checkHardware(spec.Hardware) },
	}
	if spec.CloudInit != nil {
		checks = append(checks, func() error { return checkWord("cloudInitStorage", spec.CloudInitStorage) })
	}
	for _, nic := range spec.NICs {
		checks = append(checks, func() error { return CheckNIC(nic) })
	}
	return firstError(checks)
}

// CheckChange is CheckSpec for what a change sets.
func CheckChange(change GuestChange) error {
	var checks []func() error
	add := func(check func() error) { checks = append(checks, check) }
	if change.Name != nil {
		add(func() error { return checkName(*change.Name) })
	}
	if change.Sockets != nil {
		add(func() error { return checkRange("sockets", *change.Sockets, 1, 16) })
	}
	if change.Cores != nil {
		add(func() error { return checkRange("cores", *change.Cores, 1, 1024) })
	}
	if change.MemoryMB != nil {
		add(func() error { return checkRange("memoryMB", *change.MemoryMB, 16, 16<<20) })
	}
	if change.Limits != nil {
		add(func() error { return checkPercent(change.Limits.CPUPercent) })
	}
	if change.NIC != nil {
		add(func() error { return CheckNIC(*change.NIC) })
	}
	if change.OSFamily != nil {
		add(func() error { return checkFamily(*change.OSFamily) })
	}
	if change.SystemDiskIO != nil {
		add(func() error { return checkIO(*change.SystemDiskIO) })
	}
	if processor := change.Processor; processor != nil {
		if processor.CPUType != "" && !wordPattern.MatchString(processor.CPUType) {
			return broker.InvalidField("cpuType", "%q is not a CPU type", processor.CPUType)
		}
		add(func() error { return checkHardware(processor.Hardware) })
	}
	add(func() error { return checkCloudInit(change.CloudInit) })
	return firstError(checks)
}

func firstError(checks []func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// CheckDisk checks a disk to make.
func CheckDisk(disk DiskSpec) error {
	switch {
	case !diskPattern.MatchString(disk.Key):
		return broker.InvalidField("disk", "%q is not a disk: scsi0 to scsi30", disk.Key)
	case !wordPattern.MatchString(disk.Storage):
		return broker.InvalidField("storage", "%q is not a storage name", disk.Storage)
	case disk.ImportFrom != "" && CheckVolume(disk.ImportFrom) != nil:
		return broker.InvalidField("importFrom", "%q is not a volume", disk.ImportFrom)
	case disk.ImportFrom == "" && disk.SizeBytes <= 0:
		return broker.InvalidField("sizeBytes", "must be more than 0")
	}
	return checkIO(disk.IO)
}

// CheckAttach checks a disk that gets a volume which exists: only Key and IO count.
func CheckAttach(disk DiskSpec) error {
	if !diskPattern.MatchString(disk.Key) {
		return broker.InvalidField("disk", "%q is not a disk: scsi0 to scsi30", disk.Key)
	}
	return checkIO(disk.IO)
}

// CheckVolume checks a volume's name ("storage:path").
func CheckVolume(name string) error {
	if !volumePattern.MatchString(name) || strings.Contains(name, "..") {
		return broker.InvalidField("volume", "%q is not a volume", name)
	}
	return nil
}

// CheckNIC checks a network device.
func CheckNIC(nic NICSpec) error {
	hardware, err := net.ParseMAC(nic.MAC)
	switch {
	case err != nil || len(hardware) != 6 || hardware[0]&1 != 0 || len(nic.MAC) != 17:
		return broker.InvalidField("nic.mac", "%q is not a unicast MAC address", nic.MAC)
	case !wordPattern.MatchString(nic.Bridge):
		return broker.InvalidField("nic.bridge", "%q is not a bridge name", nic.Bridge)
	case nic.RateMbps != broker.Unlimited && nic.RateMbps <= 0:
		return broker.InvalidField("nic.rateMbps", "must be more than 0, or unlimited")
	}
	return nil
}

// CheckFetch checks what a node is told to download.
func CheckFetch(image ImageFetch) error {
	address, err := url.Parse(image.URL)
	switch {
	case !filePattern.MatchString(image.FileName) || path.Base(image.FileName) != image.FileName || strings.Contains(image.FileName, ".."):
		return broker.InvalidField("fileName", "%q is not a file name", image.FileName)
	case err != nil || address.Scheme != "http" && address.Scheme != "https" || address.Host == "" || len(image.URL) > 2048 || hasControl(image.URL):
		return broker.InvalidField("url", "must be an http or https address")
	case image.Checksum != "" && !checksumPattern.MatchString(image.Checksum):
		return broker.InvalidField("checksum", `must be "sha256:" or "sha512:" and hex digits`)
	}
	return nil
}

// CheckHistory checks the arguments of History.
func CheckHistory(timeframe, consolidation string) error {
	switch timeframe {
	case "hour", "day", "week", "month", "year":
	default:
		return broker.InvalidField("timeframe", "must be hour, day, week, month or year")
	}
	if consolidation != "AVERAGE" && consolidation != "MAX" {
		return broker.InvalidField("consolidation", "must be AVERAGE or MAX")
	}
	return nil
}

func checkDisks(disks []DiskSpec) error {
	seen := map[string]bool{}
	for _, disk := range disks {
		if err := CheckDisk(disk); err != nil {
			return err
		}
		if seen[disk.Key] {
			return broker.InvalidField("disk", "%s is named twice", disk.Key)
		}
		seen[disk.Key] = true
	}
	return nil
}

func checkCloudInit(data *CloudInit) error {
	if data == nil {
		return nil
	}
	if data.User != "" && !userPattern.MatchString(data.User) {
		return broker.InvalidField("cloudInit.user", "%q is not a user name", data.User)
	}
	if len(data.Password) > 1024 || hasControl(data.Password) {
		return broker.InvalidField("cloudInit.password", "must have 1024 printable characters at most")
	}
	for _, server := range strings.Fields(data.Nameserver) {
		if net.ParseIP(server) == nil {
			return broker.InvalidField("cloudInit.nameserver", "%q is not an address", server)
		}
	}
	for _, key := range data.SSHKeys {
		if len(key) > 16384 || hasControl(key) || len(strings.Fields(key)) < 2 {
			return broker.InvalidField("cloudInit.sshKeys", "must be public keys, one line each")
		}
	}
	for _, address := range data.Addresses {
		if !address.IP.IsValid() || address.Prefix < 1 || address.Prefix > address.IP.BitLen() || address.IP.Zone() != "" ||
			address.Gateway.IsValid() && address.Gateway.Is4() != address.IP.Is4() {
			return broker.InvalidField("cloudInit.addresses", "%s/%d via %s is not an address with its gateway", address.IP, address.Prefix, address.Gateway)
		}
	}
	return nil
}

func checkIO(limits broker.IOLimits) error {
	for _, each := range []int64{
		limits.ReadMBps, limits.ReadMBpsMax, limits.WriteMBps, limits.WriteMBpsMax,
		limits.ReadIOPS, limits.ReadIOPSMax, limits.WriteIOPS, limits.WriteIOPSMax,
	} {
		if each != broker.Unlimited && each <= 0 {
			return broker.InvalidField("io", "limits must be more than 0, or unlimited")
		}
	}
	return nil
}

func checkName(name string) error {
	if len(name) > 253 || !namePattern.MatchString(name) {
		return broker.InvalidField("name", "%q is not a DNS name", name)
	}
	return nil
}

func checkFamily(family string) error {
	switch family {
	case "", "linux", "windows", "solaris", "other":
		return nil
	}
	return broker.InvalidField("osFamily", "must be linux, windows, solaris or other")
}

func checkPercent(percent int64) error {
	if percent != broker.Unlimited && percent < 1 {
		return broker.InvalidField("limits.cpuPercent", "must be more than 0, or unlimited")
	}
	return nil
}

func checkRange(field string, value, low, high int) error {
	if value < low || value > high {
		return broker.InvalidField(field, "must be between %d and %d", low, high)
	}
	return nil
}

func checkWord(field, word string) error {
	if !wordPattern.MatchString(word) {
		return broker.InvalidField(field, "%q is not a plain name", word)
	}
	return nil
}

func hasControl(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}
