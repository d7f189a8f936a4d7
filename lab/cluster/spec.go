package cluster

import (
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gantry/lab/apierror"
	"gantry/lab/guestconf"
	"gantry/lab/machine"
	"gantry/lab/worker"
)

// buildSpec turns the configuration into what the backend runs, with all limits.
func (g *Guest) buildSpec(values guestconf.Section) (machine.Spec, error) {
	c := g.cluster
	smbios := guestconf.Properties(values["smbios1"], "uuid")
	spec := machine.Spec{
		Node: g.Node, VMID: g.VMID, Name: values["name"], RunDir: filepath.Join(c.DataDir, "nodes", g.Node, "run", strconv.Itoa(g.VMID)),
		KVM: c.KVM && values["kvm"] != "0", Sockets: max(values.Int("sockets", 1), 1), Cores: max(values.Int("cores", 1), 1),
		MemoryMB: values.MemoryMB(), CPU: guestconf.Properties(values["cpu"], "cputype")["cputype"], UUID: smbios["uuid"],
		Agent: values.AgentEnabled(), Serial: values["serial0"] == "socket", Boot: values.Boot(),
	}
	if spec.Name == "" {
		spec.Name = fmt.Sprintf("VM %d", g.VMID)
	}
	if text := smbiosType1(smbios); text != "" {
		spec.SMBIOS = []string{text}
	}
	if args := values["args"]; args != "" {
		spec.Args = shellWords(args)
	}
	for _, key := range values.Drives() {
		disk, ok, err := g.disk(values.Drive(key))
		if err != nil {
			return spec, err
		}
		if ok {
			spec.Disks = append(spec.Disks, disk)
		}
	}
	for _, key := range values.Nets() {
		net := guestconf.ParseNet(key, values[key])
		rate, _ := strconv.ParseFloat(net.Options["rate"], 64)
		spec.NICs = append(spec.NICs, machine.NIC{Key: key, Model: net.Model, MAC: net.MAC, Bridge: net.Bridge, Rate: rate,
			Tap: fmt.Sprintf("tap%di%s", g.VMID, strings.TrimPrefix(key, "net"))})
	}
	return spec, nil
}

// smbiosType1 is the -smbios value for the fields beside the uuid, in QEMU's escaping (a comma is doubled).
func smbiosType1(smbios map[string]string) string {
	var parts []string
	for _, field := range []string{"manufacturer", "product", "version", "serial", "sku", "family"} {
		value := smbios[field]
		if value == "" {
			continue
		}
		if smbios["base64"] == "1" {
			value = decodeBase64(value)
		}
		parts = append(parts, field+"="+strings.ReplaceAll(value, ",", ",,"))
	}
	if len(parts) == 0 {
		return ""
	}
	return "type=1," + strings.Join(parts, ",")
}

func (g *Guest) disk(drive guestconf.Drive) (machine.Disk, bool, error) {
	disk := machine.Disk{Key: drive.Key, CDROM: drive.IsCDROM(), ReadOnly: drive.Options["ro"] == "1" || drive.IsCDROM()}
	if !drive.HasVolume() {
		return disk, disk.CDROM, nil // an empty CD-ROM drive
	}
	at, err := g.cluster.place(g.Node, drive.File)
	if err != nil {
		return disk, false, err
	}
	disk.Path, disk.Format = at.Path, at.Volume.Format
	if drive.IsCloudinit() || at.Volume.Content == "iso" {
		disk.CDROM, disk.ReadOnly = true, true
	}
	if at.Volume.Content == "iso" {
		disk.Format = "raw"
	}
	limit := func(names ...string) int64 {
		for _, name := range names {
			if number, err := strconv.ParseFloat(drive.Options[name], 64); err == nil && number > 0 {
				if strings.HasPrefix(name, "mbps") {
					number *= 1 << 20
				}
				return int64(math.Round(number))
			}
		}
		return 0
	}
	disk.ReadBytesPerSecond = limit("mbps_rd", "bps_rd", "mbps", "bps")
	disk.ReadBytesPerSecondMax = limit("mbps_rd_max", "mbps_max")
	disk.WriteBytesPerSecond = limit("mbps_wr", "bps_wr", "mbps", "bps")
	disk.WriteBytesPerSecondMax = limit("mbps_wr_max", "mbps_max")
	disk.ReadOpsPerSecond, disk.ReadOpsPerSecondMax = limit("iops_rd", "iops"), limit("iops_rd_max", "iops_max")
	disk.WriteOpsPerSecond, disk.WriteOpsPerSecondMax = limit("iops_wr", "iops"), limit("iops_wr_max", "iops_max")
	return disk, true, nil
}

// cloudinitText makes the files of the cloud-init drive.
func (g *Guest) cloudinitText(values guestconf.Section) machine.CloudInit {
	user := values.UserData(g.VMID)
	network := values.NetworkConfig(guestconf.Resolver{Servers: []string{"127.0.0.1"}, Search: "lab.local"})
	return machine.CloudInit{UserData: user, NetworkConfig: network, MetaData: guestconf.MetaData(user, network)}
}

// CloudinitDump returns one of the files: user, network or meta.
func (g *Guest) CloudinitDump(kind string) string {
	files := g.cloudinitText(g.Config().Values)
	switch kind {
	case "network":
		return files.NetworkConfig
	case "meta":
		return files.MetaData
	}
	return files.UserData
}

// generateCloudinit writes the cloud-init drive, when the guest has one, and notes what is on it.
func (g *Guest) generateCloudinit(ctx context.Context, task *worker.Task) error {
	values := g.Config().Values
	for _, key := range values.Drives() {
		drive := values.Drive(key)
		if !drive.IsCloudinit() || !drive.HasVolume() {
			continue
		}
		at, err := g.cluster.place(g.Node, drive.File)
		if err != nil {
			return err
		}
		if task != nil {
			task.Log("generating cloud-init ISO")
		}
		if err := os.MkdirAll(filepath.Dir(at.Path), 0o755); err != nil {
			return fmt.Errorf("make the images folder: %w", err)
		}
		if err := g.cluster.Backend.WriteCloudInit(ctx, at.Path, g.cloudinitText(values)); err != nil {
			return g.cluster.shown(g.Node, err)
		}
		written := guestconf.Section{}
		for name, value := range values {
			if guestconf.IsCloudinit(name) || name == "name" || guestconf.IsNet(name) {
				written[name] = value
			}
		}
		if maps.Equal(written, g.Config().Cloudinit) {
			continue
		}
		if err := g.Edit(func(conf *guestconf.Config) error { conf.Cloudinit = written; return nil }); err != nil {
			return err
		}
	}
	return nil
}

// RegenerateCloudinit is PUT …/cloudinit.
func (g *Guest) RegenerateCloudinit(ctx context.Context) error { return g.generateCloudinit(ctx, nil) }

// checkBridges is what pve-bridge does when the guest's devices are plugged in.
func (g *Guest) checkBridges(task *worker.Task, values guestconf.Section) error {
	for _, key := range values.Nets() {
		net := guestconf.ParseNet(key, values[key])
		if net.Bridge == "" {
			continue
		}
		bridge := g.cluster.Bridge(net.Bridge)
		if bridge == nil && g.cluster.Major >= 9 {
			return apierror.Die("bridge '%s' does not exist", net.Bridge)
		}
		problem, code := "", 512
		switch {
		case bridge == nil:
			problem = fmt.Sprintf("bridge '%s' does not exist", net.Bridge)
		case net.Options["tag"] != "" && bridge.Ports == "" && !bridge.VLANAware:
			problem = fmt.Sprintf("no physical interface on bridge '%s'", net.Bridge)
			if g.cluster.Major >= 9 {
				code = 65280
			}
		default:
			continue
		}
		task.Log(problem)
		task.Logf("qemu-system-x86_64: -netdev type=tap,id=%s,ifname=tap%di%s,script=/usr/libexec/qemu-server/pve-bridge,downscript=/usr/libexec/qemu-server/pve-bridgedown: network script /usr/libexec/qemu-server/pve-bridge failed with status %d",
			key, g.VMID, strings.TrimPrefix(key, "net"), code)
		return apierror.Die("start failed: QEMU exited with code 1")
	}
	return nil
}
