package guestconf

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// CloudinitKeys are the options that make the cloud-init drive.
var CloudinitKeys = []string{"cicustom", "cipassword", "citype", "ciupgrade", "ciuser", "name", "nameserver", "searchdomain", "sshkeys"}

// IsCloudinit tells whether the option is part of cloud-init.
func IsCloudinit(key string) bool {
	switch key {
	case "cicustom", "cipassword", "citype", "ciupgrade", "ciuser", "nameserver", "searchdomain", "sshkeys":
		return true
	}
	return strings.HasPrefix(key, "ipconfig")
}

// Resolver are the node's own DNS settings, used where the guest sets none.
type Resolver struct {
	Servers []string
	Search  string
}

func (s Section) hostnames(vmid int) (host, fqdn string) {
	name := s["name"]
	if name == "" {
		name = fmt.Sprintf("VM%d", vmid)
	}
	host, domain, dotted := strings.Cut(name, ".")
	if dotted {
		return host, name
	}
	if search := strings.Fields(s["searchdomain"]); len(search) > 0 {
		domain = search[0]
	}
	if domain != "" {
		return host, host + "." + domain
	}
	return host, host
}

// UserData is the cloud-config as PVE::QemuServer::Cloudinit::cloudinit_userdata writes it.
func (s Section) UserData(vmid int) string {
	host, fqdn := s.hostnames(vmid)
	var text strings.Builder
	fmt.Fprintf(&text, "#cloud-config\nhostname: %s\nmanage_etc_hosts: true\nfqdn: %s\n", host, fqdn)
	if user := s["ciuser"]; user != "" {
		fmt.Fprintf(&text, "user: %s\n", user)
	}
	if password := s["cipassword"]; password != "" {
		fmt.Fprintf(&text, "password: %s\n", password)
	}
	if keys := s["sshkeys"]; keys != "" {
		plain, err := url.PathUnescape(keys)
		if err != nil {
			plain = keys
		}
		text.WriteString("ssh_authorized_keys:\n")
		for key := range strings.SplitSeq(plain, "\n") {
			if key = strings.TrimSpace(key); key != "" {
				fmt.Fprintf(&text, "  - %s\n", key)
			}
		}
	}
	text.WriteString("chpasswd:\n  expire: False\n")
	if user := s["ciuser"]; user == "" || user != "root" {
		text.WriteString("users:\n  - default\n")
	}
	if s["ciupgrade"] == "0" {
		text.WriteString("package_upgrade: false\n")
	} else {
		text.WriteString("package_upgrade: true\n")
	}
	return text.String()
}

// NetworkConfig is the network configuration, version 1, as cloudinit's NoCloud source reads it.
func (s Section) NetworkConfig(resolver Resolver) string {
	var text strings.Builder
	text.WriteString("version: 1\nconfig:\n")
	for _, key := range s.Nets() {
		number := strings.TrimPrefix(key, "net")
		net := ParseNet(key, s[key])
		fmt.Fprintf(&text, "    - type: physical\n      name: eth%s\n      mac_address: '%s'\n      subnets:\n", number, strings.ToLower(net.MAC))
		subnets(&text, Properties(s["ipconfig"+number], "ip"))
	}
	text.WriteString("    - type: nameserver\n      address:\n")
	servers := strings.FieldsFunc(s["nameserver"], func(r rune) bool { return r == ' ' || r == ',' || r == ';' })
	if len(servers) == 0 {
		servers = resolver.Servers
	}
	for _, server := range servers {
		fmt.Fprintf(&text, "      - '%s'\n", server)
	}
	search := s["searchdomain"]
	if search == "" {
		search = resolver.Search
	}
	text.WriteString("      search:\n")
	for _, domain := range strings.Fields(search) {
		fmt.Fprintf(&text, "      - '%s'\n", domain)
	}
	return text.String()
}

func subnets(text *strings.Builder, ip map[string]string) {
	if len(ip) == 0 {
		// PVE's default without any ipconfigN.
		text.WriteString("      - type: dhcp4\n")
		return
	}
	switch address := ip["ip"]; {
	case address == "dhcp":
		text.WriteString("      - type: dhcp4\n")
	case address != "":
		prefix, err := netip.ParsePrefix(address)
		if err != nil {
			break
		}
		fmt.Fprintf(text, "      - type: static\n        address: '%s'\n        netmask: '%s'\n", prefix.Addr(), netmask(prefix.Bits()))
		if ip["gw"] != "" {
			fmt.Fprintf(text, "        gateway: '%s'\n", ip["gw"])
		}
	}
	switch address := ip["ip6"]; address {
	case "":
	case "dhcp":
		text.WriteString("      - type: dhcp6\n")
	case "auto":
		text.WriteString("      - type: ipv6_slaac\n")
	default:
		fmt.Fprintf(text, "      - type: static6\n        address: '%s'\n", address)
		if ip["gw6"] != "" {
			fmt.Fprintf(text, "        gateway: '%s'\n", ip["gw6"])
		}
	}
}

func netmask(bits int) string {
	mask := ^uint32(0) << (32 - bits)
	if bits == 0 {
		mask = 0
	}
	return fmt.Sprintf("%d.%d.%d.%d", mask>>24, mask>>16&255, mask>>8&255, mask&255)
}

// MetaData holds the instance id, which PVE makes from the other two files.
func MetaData(userData, networkConfig string) string {
	sum := sha1.Sum([]byte(userData + networkConfig))
	return "instance-id: " + hex.EncodeToString(sum[:]) + "\n"
}

const saltLetters = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// NewSalt makes the eight letters of salt that PVE uses for cipassword.
func NewSalt() string {
	raw := make([]byte, 8)
	if _, err := rand.Read(raw); err != nil {
		return "gantrylab"[:8]
	}
	for i := range raw {
		raw[i] = saltLetters[raw[i]&63]
	}
	return string(raw)
}
