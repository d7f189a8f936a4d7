package broker

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// Bounds of an order. They are wide: the node's own limits come first.
const (
	maxSockets      = 16
	maxCores        = 512
	maxMemoryMB     = 16 << 20
	minMemoryMB     = 16 // PVE: memory.current has a minimum of 16
	maxDiskGB       = 128 << 10
	maxDataDisks    = 29 // scsi1 … scsi29; PVE has scsi0 … scsi30
	maxAddresses    = 32
	maxKeyLength    = 128
	maxBandwidth    = 1_000_000
	maxTrafficGB    = 1 << 40
	minPasswordSize = 5
	maxPasswordSize = 128
)

var (
	hostnamePattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`)
	usernamePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,31}$`)
	namePattern     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`)
	sshKeyPattern   = regexp.MustCompile(`^(ssh-|ecdsa-|sk-)[A-Za-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\r\n]{0,200})?$`)
)

// specification turns an order into what is wanted, with documented defaults filled in. It looks at nothing but the order.
func (b *Broker) specification(request *OrderRequest) (VMSpec, error) {
	spec := VMSpec{
		Arch: "x86_64", CPUType: "kvm64", Bridge: b.rules.DefaultBridge,
		CPUPercent: Unlimited, BandwidthMbps: Unlimited, TrafficBytes: Unlimited,
		Nested: given(request.Nested, false), Devirtualization: given(request.Devirtualization, false),
		KVM: given(request.KVM, true), ACPI: given(request.ACPI, true), OnBoot: given(request.OnBoot, false),
		Storage: request.Storage, Nameserver: request.Nameserver,
	}
	for _, check := range []func(*OrderRequest, *VMSpec) error{
		checkName, checkProcessor, checkMemory, b.checkDisks, checkLimits, checkNetwork, checkLogin,
	} {
		if err := check(request, &spec); err != nil {
			return VMSpec{}, err
		}
	}
	if request.ExpiresAt != nil && !request.ExpiresAt.After(b.now()) {
		return VMSpec{}, InvalidField("expirationTime", "%s is in the past", request.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return spec, nil
}

func given[T any](value *T, otherwise T) T {
	if value == nil {
		return otherwise
	}
	return *value
}

// within checks an optional number; nil passes and gives the default.
func within(field string, value *int, otherwise, low, high int) (int, error) {
	if value == nil {
		return otherwise, nil
	}
	if *value < low || *value > high {
		return 0, InvalidField(field, "%d is not between %d and %d", *value, low, high)
	}
	return *value, nil
}

func checkName(request *OrderRequest, _ *VMSpec) error {
	if len(request.IdempotencyKey) > maxKeyLength || !printable(request.IdempotencyKey) {
		return InvalidField("Idempotency-Key", "at most %d printable ASCII characters", maxKeyLength)
	}
	if request.Hostname == "" {
		return nil
	}
	if len(request.Hostname) > 63 || !hostnamePattern.MatchString(request.Hostname) {
		failure := Because(Invalid, ReasonHostnameInvalid, bounded(request.Hostname))
		failure.Field = "hostname"
		return failure
	}
	return nil
}

func checkProcessor(request *OrderRequest, spec *VMSpec) (err error) {
	if spec.Sockets, err = within("sockets", request.Sockets, 1, 1, maxSockets); err != nil {
		return err
	}
	if spec.Cores, err = within("cores", request.Cores, 1, 1, maxCores); err != nil {
		return err
	}
	if spec.Threads, err = within("threads", request.Threads, 1, 1, 8); err != nil {
		return err
	}
	percent, err := within("cpuUnits", request.CPUPercent, 0, 0, 100)
	if err != nil {
		return err
	}
	if percent > 0 && percent < 100 {
		spec.CPUPercent = int64(percent)
	}
	if request.CPUType != "" {
		if _, known := CPUTypes()[request.CPUType]; !known {
			failure := Because(Invalid, ReasonCPUType, bounded(request.CPUType))
			failure.Field = "cpu"
			return failure
		}
		spec.CPUType = request.CPUType
	}
	if spec.Nested && request.CPUType == "" {
		spec.CPUType = "host"
	}
	if spec.Nested && spec.CPUType != "host" && spec.CPUType != "max" {
		failure := Because(Invalid, ReasonCPUNotNested, spec.CPUType)
		failure.Field = "cpu"
		return failure
	}
	switch request.Arch {
	case "", "x86_64":
	case "arrch64", "aarch64": // the seed misspells it
		spec.Arch = "aarch64"
	default:
		failure := Because(Invalid, ReasonArchitecture, bounded(request.Arch))
		failure.Field = "arch"
		return failure
	}
	return nil
}

func checkMemory(request *OrderRequest, spec *VMSpec) (err error) {
	if spec.MemoryMB, err = within("memory", request.MemoryMB, 512, minMemoryMB, maxMemoryMB); err != nil {
		return err
	}
	spec.SwapMB, err = within("swap", request.SwapMB, 0, 0, maxMemoryMB)
	return err
}

func (b *Broker) checkDisks(request *OrderRequest, spec *VMSpec) (err error) {
	if spec.SystemDiskGB, err = within("systemDiskSize", request.SystemDiskGB, 0, 1, maxDiskGB); err != nil {
		return err
	}
	if len(request.DataDisks) > maxDataDisks {
		return InvalidField("dataDisk", "at most %d data disks", maxDataDisks)
	}
	seen := map[int]bool{}
	for _, disk := range request.DataDisks {
		field := fmt.Sprintf("dataDisk.%d", disk.Number)
		if disk.Number < 1 || disk.Number > maxDataDisks {
			return InvalidField(field, "disks are numbered 1 to %d", maxDataDisks)
		}
		if seen[disk.Number] {
			return InvalidField(field, "named twice")
		}
		if disk.SizeGB < 1 || disk.SizeGB > maxDiskGB {
			return InvalidField(field, "size %d GB is not between 1 and %d", disk.SizeGB, maxDiskGB)
		}
		if disk.Storage != "" && !namePattern.MatchString(disk.Storage) {
			return InvalidField(field, "%q is not a storage name", bounded(disk.Storage))
		}
		seen[disk.Number] = true
		spec.DataDisks = append(spec.DataDisks, disk)
	}
	if spec.Storage == "auto" {
		spec.Storage = ""
	}
	if spec.Storage != "" && !namePattern.MatchString(spec.Storage) {
		return InvalidField("storage", "%q is not a storage name", bounded(spec.Storage))
	}
	return nil
}

func checkLimits(request *OrderRequest, spec *VMSpec) error {
	limits := []struct {
		field string
		from  int64
		to    *int64
	}{
		{"mbpsRd", request.IO.ReadMBps, &spec.IO.ReadMBps}, {"mbpsRdMax", request.IO.ReadMBpsMax, &spec.IO.ReadMBpsMax},
		{"mbpsWr", request.IO.WriteMBps, &spec.IO.WriteMBps}, {"mbpsWrMax", request.IO.WriteMBpsMax, &spec.IO.WriteMBpsMax},
		{"iopsRd", request.IO.ReadIOPS, &spec.IO.ReadIOPS}, {"iopsRdMax", request.IO.ReadIOPSMax, &spec.IO.ReadIOPSMax},
		{"iopsWr", request.IO.WriteIOPS, &spec.IO.WriteIOPS}, {"iopsWrMax", request.IO.WriteIOPSMax, &spec.IO.WriteIOPSMax},
	}
	for _, limit := range limits {
		if limit.from < Unlimited || limit.from > 10_000_000 {
			return InvalidField(limit.field, "%d is not between 0 and 10000000", limit.from)
		}
		*limit.to = limit.from
		if limit.from == 0 {
			*limit.to = Unlimited
		}
	}
	bandwidth, err := within("bandwidth", request.BandwidthMbps, 0, 0, maxBandwidth)
	if err != nil {
		return err
	}
	if bandwidth > 0 {
		spec.BandwidthMbps = int64(bandwidth)
	}
	if request.TrafficGB == nil || *request.TrafficGB == 0 {
		return nil
	}
	if *request.TrafficGB < 0 || *request.TrafficGB > maxTrafficGB>>30 {
		return InvalidField("flowLimit", "%d GB is not between 0 and %d", *request.TrafficGB, int64(maxTrafficGB>>30))
	}
	spec.TrafficBytes = *request.TrafficGB << 30
	return nil
}

func checkNetwork(request *OrderRequest, spec *VMSpec) error {
	if request.Bridge != "" {
		if !namePattern.MatchString(request.Bridge) || len(request.Bridge) > 15 {
			return InvalidField("bridge", "%q is not a bridge name", bounded(request.Bridge))
		}
		spec.Bridge = request.Bridge
	}
	for _, server := range strings.Fields(request.Nameserver) {
		if _, err := ParseAddress("dns1", server); err != nil {
			return err
		}
	}
	if _, err := within("ipv4num", request.IPv4Count, 0, 0, maxAddresses); err != nil {
		return err
	}
	if _, err := within("ipv6num", request.IPv6Count, 0, 0, maxAddresses); err != nil {
		return err
	}
	if len(request.Addresses) > maxAddresses {
		return InvalidField("ipConfig", "at most %d addresses", maxAddresses)
	}
	for _, address := range request.Addresses {
		if address == "" {
			continue
		}
		if _, err := ParseAddress("ipConfig", address); err != nil {
			return err
		}
	}
	return nil
}

func checkLogin(request *OrderRequest, spec *VMSpec) error {
	switch request.OSFamily {
	case "", "linux", "windows", "solaris", "other":
		spec.OSFamily = request.OSFamily
	case "win":
		spec.OSFamily = "windows"
	default:
		return InvalidField("osType", "%q is none of linux, windows, solaris, other", bounded(request.OSFamily))
	}
	if request.Username != "" && !usernamePattern.MatchString(request.Username) {
		return InvalidField("username", "letters, digits, '_', '.', '-', at most 32, beginning with a letter")
	}
	if err := checkPassword("password", request.Password); err != nil {
		return err
	}
	if len(request.SSHKeys) > 32 {
		return InvalidField("sshKeys", "at most 32 keys")
	}
	for _, key := range request.SSHKeys {
		if len(key) > 8192 || !sshKeyPattern.MatchString(key) {
			return InvalidField("sshKeys", "not an OpenSSH public key")
		}
	}
	spec.SSHKeys = request.SSHKeys
	return nil
}

// checkPassword takes "" as "not given".
func checkPassword(field, password string) error {
	if password == "" {
		return nil
	}
	if len(password) < minPasswordSize || len(password) > maxPasswordSize || !printable(password) {
		return InvalidField(field, "%d to %d printable ASCII characters", minPasswordSize, maxPasswordSize)
	}
	return nil
}

// printable tells that text is made of visible ASCII: what every guest's console, shadow file and cloud-init agree on.
func printable(text string) bool {
	for _, r := range text {
		if r > unicode.MaxASCII || !unicode.IsGraphic(r) {
			return false
		}
	}
	return true
}

// bounded shortens hostile input before it goes into a message.
func bounded(text string) string {
	if len(text) > 60 {
		return text[:60] + "…"
	}
	return text
}
