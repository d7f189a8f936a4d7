package schema

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// check verifies text against a named format or a property string. Formats that are unknown here pass, as nothing in the lab
// depends on them.
func (f *Format) check(path, text string) error {
	if f.Properties != nil {
		_, err := ParsePropertyString(path, f.Properties, text)
		return err
	}
	name := f.Name
	if nested := propertyFormats[name]; nested != nil {
		_, err := ParsePropertyString(path, nested, text)
		return err
	}
	if verify := formats[name]; verify != nil {
		return verify(text)
	}
	if single, list := strings.CutSuffix(name, "-list"); list {
		if verify := formats[single]; verify != nil {
			for _, item := range SplitList(text) {
				if err := verify(item); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// SplitList splits as PVE::Tools::split_list: by comma, semicolon, NUL and white space.
func SplitList(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool {
		return r == ',' || r == ';' || r == 0 || r == ' ' || r == '\t' || r == '\n' || r == '\r'
	})
}

var formats = map[string]func(string) error{
	"pve-vmid":                       vmid,
	"pve-node":                       match(`[a-zA-Z0-9]([a-zA-Z0-9\-]*[a-zA-Z0-9])?`, "value does not look like a valid node name"),
	"pve-storage-id":                 matchNamed(`(?i)[a-z][a-z0-9\-_.]*[a-z0-9]`, "storage ID '%s' contains illegal characters"),
	"pve-configid":                   matchNamed(`(?i)[a-z][a-z0-9_-]+`, "invalid configuration ID '%s'"),
	"pve-poolid":                     matchNamed(`[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+){0,2}`, "pool name '%s' contains invalid characters"),
	"pve-roleid":                     matchNamed(`[A-Za-z0-9._-]+`, "role name '%s' contains invalid characters"),
	"pve-groupid":                    matchNamed(`[A-Za-z0-9._-]+`, "group name '%s' contains invalid characters"),
	"pve-realm":                      match(`[A-Za-z][A-Za-z0-9.\-_]+`, "value does not look like a valid realm"),
	"pve-userid":                     matchNamed(`[^\s:/]+@[A-Za-z][A-Za-z0-9.\-_]+`, "value '%s' does not look like a valid user name"),
	"pve-tokenid":                    match(`[^\s:/]+@[A-Za-z][A-Za-z0-9.\-_]+![A-Za-z][A-Za-z0-9.\-_]+`, "value does not look like a valid token ID"),
	"pve-bridge-id":                  match(`[-_.\w]+`, "value does not look like a valid bridge ID"),
	"pve-iface":                      matchNamed(`(?i)[a-z][a-z0-9_]{1,20}([:.]\d+)?`, "invalid network interface name '%s'"),
	"dns-name":                       match(dnsName, "value does not look like a valid DNS name"),
	"mac-addr":                       macAddress,
	"disk-size":                      match(`(\d+(\.\d+)?)([KMGT])?`, "value does not look like a valid disk size"),
	"ip":                             address,
	"ipv4":                           address,
	"ipv6":                           address,
	"address":                        hostAddress,
	"CIDR":                           prefix,
	"IPorCIDR":                       addressOrPrefix,
	"IPorCIDRorAlias":                nil,
	"urlencoded":                     urlEncoded,
	"pve-volume-id":                  match(volumeID, "unable to parse volume ID"),
	"pve-volume-id-or-qm-path":       volumeOrPath,
	"pve-volume-id-or-absolute-path": volumeOrAbsolutePath,
	"pve-tag":                        matchNamed(`(?i)[a-z0-9_][a-z0-9_\-\+\.]*`, "invalid characters in tag"),
	"pve-storage-content":            storageContent,
	"pve-hotplug-features":           hotplug,
	"pve-qm-bootdisk":                match(driveName, "invalid boot disk"),
	"pve-ipv4-config":                ipv4Config,
	"pve-ipv6-config":                ipv6Config,
	"pve-qm-bootdev-list":            bootDevices,
	"pve-priv":                       match(`[A-Za-z.]+`, "invalid privilege"),
	"pve-task-status-type":           match(`(?i)(ok|error|warning|unknown)`, "value does not look like a valid task status type"),
}

const (
	dnsName   = `([a-zA-Z0-9]([a-zA-Z0-9\-]*[a-zA-Z0-9])?\.)*([a-zA-Z0-9]([a-zA-Z0-9\-]*[a-zA-Z0-9])?)`
	volumeID  = `(?i)[a-z][a-z0-9\-_.]*[a-z0-9]:.+`
	driveName = `(ide[0-3]|sata[0-5]|scsi([12]?\d|30)|virtio(\d|1[0-5]))`
	newDisk   = `([^/:\s]+:)?(\d+(\.\d+)?)`
)

var bootDevice = regexp.MustCompile(`^(` + driveName + `|net([12]?\d|3[01])|usb(\d|1[0-3])|hostpci(\d|1[0-5]))$`)

func match(expression, problem string) func(string) error {
	compiled := regexp.MustCompile(`^(?:` + expression + `)$`)
	return func(text string) error {
		if !compiled.MatchString(text) {
			return errors.New(problem)
		}
		return nil
	}
}

func matchNamed(expression, problem string) func(string) error {
	compiled := regexp.MustCompile(`^(?:` + expression + `)$`)
	return func(text string) error {
		if compiled.MatchString(text) {
			return nil
		}
		if strings.Contains(problem, "%s") {
			return fmt.Errorf(problem, text)
		}
		return errors.New(problem)
	}
}

func vmid(text string) error {
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number < 100 || number > 999999999 || strings.HasPrefix(text, "0") {
		return errors.New("value does not look like a valid VM ID")
	}
	return nil
}

var macText = regexp.MustCompile(`(?i)^[a-f0-9][02468ace](:[a-f0-9]{2}){5}$`)

func macAddress(text string) error {
	if !macText.MatchString(text) {
		return errors.New("value does not look like a valid unicast MAC address")
	}
	return nil
}

func address(text string) error {
	if _, err := netip.ParseAddr(text); err != nil {
		return errors.New("value does not look like a valid IP address")
	}
	return nil
}

var dnsText = regexp.MustCompile(`^` + dnsName + `$`)

func hostAddress(text string) error {
	if address(text) != nil && !dnsText.MatchString(text) {
		return errors.New("value does not look like a valid address: " + text)
	}
	return nil
}

func prefix(text string) error {
	if _, err := netip.ParsePrefix(text); err != nil {
		return errors.New("value does not look like a valid CIDR network")
	}
	return nil
}

func addressOrPrefix(text string) error {
	if address(text) != nil && prefix(text) != nil {
		return errors.New("value does not look like a valid IP address or CIDR network")
	}
	return nil
}

var encodedText = regexp.MustCompile(`^[-%a-zA-Z0-9_.!~*'()]*$`)

// urlEncoded wants text that is URL-encoded once more than the form is (option sshkeys).
func urlEncoded(text string) error {
	if _, err := url.PathUnescape(text); err != nil || !encodedText.MatchString(text) {
		return errors.New("invalid urlencoded string: " + text)
	}
	return nil
}

var (
	newDiskText = regexp.MustCompile(`^` + newDisk + `$`)
	volumeText  = regexp.MustCompile(`^` + volumeID + `$`)
)

func volumeOrPath(text string) error {
	if text == "none" || text == "cdrom" || newDiskText.MatchString(text) {
		return nil
	}
	return volumeOrAbsolutePath(text)
}

func volumeOrAbsolutePath(text string) error {
	if strings.HasPrefix(text, "/") || volumeText.MatchString(text) {
		return nil
	}
	return errors.New("unable to parse volume ID '" + text + "'\n")
}

func storageContent(text string) error {
	switch text {
	case "images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import", "none":
		return nil
	}
	return fmt.Errorf("invalid content type '%s'", text)
}

func hotplug(text string) error {
	if text == "0" || text == "1" {
		return nil
	}
	for _, feature := range SplitList(text) {
		switch feature {
		case "network", "disk", "cpu", "memory", "usb", "cloudinit":
		default:
			return fmt.Errorf("invalid hotplug feature '%s'", feature)
		}
	}
	return nil
}
