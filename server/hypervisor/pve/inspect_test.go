package pve_test

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// inspect reads a guest's configuration file on its node and says what was ordered by it. It is written against PVE's
// documentation of qm.conf, not with the driver's own parsers.
func (c *cluster) inspect(t *testing.T, id int) hypervisor.GuestSpec {
	t.Helper()
	node, _ := c.Cluster().Where(id)
	guest, err := c.Cluster().Guest(node, id)
	if err != nil {
		t.Fatal(err)
	}
	conf := guest.Config().Values
	number := func(key string, missing int) int {
		if conf[key] == "" {
			return missing
		}
		value, err := strconv.Atoi(conf[key])
		if err != nil {
			t.Fatalf("%s is %q", key, conf[key])
		}
		return value
	}
	spec := hypervisor.GuestSpec{
		Ref:  hypervisor.GuestRef{ID: id, Node: node, Owner: strings.TrimPrefix(conf["smbios1"], "uuid=")},
		Name: conf["name"], Sockets: number("sockets", 1), Cores: number("cores", 1), MemoryMB: number("memory", 0), CPUType: conf["cpu"],
		KVM: number("kvm", 1) == 1, GuestAgent: strings.HasPrefix(conf["agent"], "1"), ACPI: number("acpi", 1) == 1, OnBoot: number("onboot", 0) == 1,
		OSFamily: map[string]string{"l26": "linux", "win10": "windows", "solaris": "solaris", "other": "other"}[conf["ostype"]],
		Limits:   hypervisor.Limits{CPUPercent: broker.Unlimited}, Description: conf["description"],
	}
	if limit := conf["cpulimit"]; limit != "" {
		cpus, err := strconv.ParseFloat(limit, 64)
		if err != nil {
			t.Fatalf("cpulimit is %q", limit)
		}
		spec.Limits.CPUPercent = int64(cpus * 100 / float64(spec.Sockets*spec.Cores))
	}
	for key, value := range conf {
		if strings.HasPrefix(key, "scsi") && key != "scsihw" {
			spec.Disks = append(spec.Disks, inspectDisk(t, key, value))
		}
		if strings.HasPrefix(key, "net") {
			spec.NICs = append(spec.NICs, inspectNIC(t, value))
		}
	}
	slices.SortFunc(spec.Disks, func(a, b hypervisor.DiskSpec) int { return strings.Compare(a.Key, b.Key) })
	if len(spec.Disks) > 0 && conf["boot"] != "order=scsi0" {
		t.Errorf("boot is %q", conf["boot"])
	}
	if conf["tags"] != "gantry" || conf["serial0"] != "socket" || conf["vga"] != "std" {
		t.Errorf("tags %q, serial0 %q, vga %q", conf["tags"], conf["serial0"], conf["vga"])
	}
	if strings.Contains(conf["ide2"], "cloudinit") {
		spec.CloudInit = inspectCloudInit(t, conf)
	}
	return spec
}

func parts(value string) map[string]string {
	out := map[string]string{}
	for i, part := range strings.Split(value, ",") {
		key, value, _ := strings.Cut(part, "=")
		if i == 0 && value == "" {
			key, value = "", key
		}
		out[key] = value
	}
	return out
}

func inspectDisk(t *testing.T, key, value string) hypervisor.DiskSpec {
	t.Helper()
	fields := parts(value)
	if fields["discard"] != "on" {
		t.Errorf("%s has no discard: %s", key, value)
	}
	limit := func(name string) int64 {
		if fields[name] == "" {
			return broker.Unlimited
		}
		number, err := strconv.ParseInt(fields[name], 10, 64)
		if err != nil {
			t.Fatalf("%s of %s", name, value)
		}
		return number
	}
	storage, _, _ := strings.Cut(fields[""], ":")
	size, err := strconv.ParseInt(strings.TrimSuffix(fields["size"], "G"), 10, 64)
	if err != nil {
		t.Fatalf("size of %s", value)
	}
	return hypervisor.DiskSpec{Key: key, Storage: storage, SizeBytes: size << 30, IO: broker.IOLimits{
		ReadMBps: limit("mbps_rd"), ReadMBpsMax: limit("mbps_rd_max"), WriteMBps: limit("mbps_wr"), WriteMBpsMax: limit("mbps_wr_max"),
		ReadIOPS: limit("iops_rd"), ReadIOPSMax: limit("iops_rd_max"), WriteIOPS: limit("iops_wr"), WriteIOPSMax: limit("iops_wr_max"),
	}}
}

func inspectNIC(t *testing.T, value string) hypervisor.NICSpec {
	t.Helper()
	fields := parts(value)
	if fields["firewall"] != "1" {
		t.Errorf("the NIC has no firewall: %s", value)
	}
	nic := hypervisor.NICSpec{MAC: strings.ToLower(fields["virtio"]), Bridge: fields["bridge"], RateMbps: broker.Unlimited}
	if fields["rate"] != "" {
		megabytes, err := strconv.ParseFloat(fields["rate"], 64)
		if err != nil {
			t.Fatalf("rate of %s", value)
		}
		nic.RateMbps = int64(megabytes * 8)
	}
	return nic
}

func inspectCloudInit(t *testing.T, conf map[string]string) *hypervisor.CloudInit {
	t.Helper()
	out := &hypervisor.CloudInit{User: conf["ciuser"], Nameserver: conf["nameserver"]}
	if conf["cipassword"] == "" {
		t.Error("no password")
	}
	keys, err := url.PathUnescape(conf["sshkeys"])
	if err != nil {
		t.Fatalf("sshkeys are %q", conf["sshkeys"])
	}
	if keys != "" {
		out.SSHKeys = strings.Split(keys, "\n")
	}
	fields := parts(conf["ipconfig0"])
	for _, version := range []struct{ address, gateway string }{{"ip", "gw"}, {"ip6", "gw6"}} {
		if fields[version.address] == "" {
			continue
		}
		prefix := netip.MustParsePrefix(fields[version.address])
		out.Addresses = append(out.Addresses, broker.VMAddress{IP: prefix.Addr(), Prefix: prefix.Bits(), Gateway: netip.MustParseAddr(fields[version.gateway])})
	}
	return out
}
