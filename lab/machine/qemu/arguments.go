package qemu

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gantry/lab/machine"
)

// processorModels are the models that PVE defines itself, in QEMU's words (PVE::QemuServer::CPUConfig).
var processorModels = map[string]string{
	"x86-64-v2":     "qemu64,+popcnt,+pni,+sse4.1,+sse4.2,+ssse3",
	"x86-64-v2-AES": "qemu64,+aes,+popcnt,+pni,+sse4.1,+sse4.2,+ssse3",
	"x86-64-v3":     "qemu64,+aes,+popcnt,+pni,+sse4.1,+sse4.2,+ssse3,+avx,+avx2,+bmi1,+bmi2,+f16c,+fma,+abm,+movbe,+xsave",
}

// tcgCacheMB bounds the translated code that QEMU keeps without KVM; its default is up to 1 GiB for each guest.
const tcgCacheMB = 64

// checkSpec refuses what would end in a puzzling message of QEMU.
func checkSpec(spec machine.Spec) error {
	switch {
	case !filepath.IsAbs(spec.RunDir):
		return fmt.Errorf("run directory %q is not absolute", spec.RunDir)
	case spec.MemoryMB < 16:
		return fmt.Errorf("memory of %d MB is less than 16", spec.MemoryMB)
	case spec.Cores < 0 || spec.Sockets < 0 || cpus(spec) > 255:
		return fmt.Errorf("%d sockets of %d cores are not 1 to 255 CPUs", spec.Sockets, spec.Cores)
	}
	for _, disk := range spec.Disks {
		if !filepath.IsAbs(disk.Path) {
			return fmt.Errorf("%s: volume path %q is not absolute", disk.Key, disk.Path)
		}
	}
	return nil
}

// cpus is the number of virtual CPUs; PVE's default for sockets and cores is 1.
func cpus(spec machine.Spec) int { return max(1, spec.Sockets) * max(1, spec.Cores) }

// arguments is QEMU's command line for a guest, after PVE's own. Sockets are bound by name in the working directory, which
// is the run directory: their full paths may be too long for sockaddr_un.
func arguments(spec machine.Spec, kvm bool, links []link) ([]string, error) {
	name := spec.Name
	if name == "" {
		name = fmt.Sprintf("vm%d", spec.VMID)
	}
	argv := []string{
		"-name", escapeOption(name) + ",debug-threads=on",
		"-no-user-config", "-nodefaults",
		"-daemonize", "-S",
		"-pidfile", filepath.Join(spec.RunDir, pidFile),
		"-chardev", "socket,id=qmp,server=on,wait=off,path=" + qmpSocket,
		"-mon", "chardev=qmp,mode=control",
		"-machine", "type=pc",
		"-smp", fmt.Sprintf("%d,sockets=%d,cores=%d", cpus(spec), max(1, spec.Sockets), max(1, spec.Cores)),
		"-m", strconv.Itoa(spec.MemoryMB),
		"-boot", "strict=on,reboot-timeout=1000",
		"-vnc", "unix:" + vncSocket,
		"-device", "VGA,id=vga",
		// An absolute pointer: without it the browser's pointer and the guest's drift apart.
		"-device", "piix3-usb-uhci,id=uhci",
		"-device", "usb-tablet,id=tablet,bus=uhci.0",
		"-device", "virtio-balloon-pci,id=balloon0",
	}
	argv = append(argv, accelerator(spec, kvm)...)
	if spec.UUID != "" {
		argv = append(argv, "-uuid", spec.UUID)
	}
	for _, smbios := range spec.SMBIOS {
		argv = append(argv, "-smbios", smbios)
	}
	if spec.Serial {
		argv = append(argv,
			"-chardev", "socket,id=serial0,server=on,wait=off,path="+serialSocket+",logfile="+escapeOption(filepath.Join(spec.RunDir, serialLog)),
			"-device", "isa-serial,chardev=serial0")
	}
	if spec.Agent {
		argv = append(argv,
			"-chardev", "socket,id=qga0,server=on,wait=off,path="+agentSocket,
			"-device", "virtio-serial,id=qga0",
			"-device", "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0")
	}
	drives, err := driveArguments(spec)
	if err != nil {
		return nil, err
	}
	argv = append(argv, drives...)
	for _, link := range links {
		argv = append(argv, link.arguments(bootIndex(spec, link.nic.Key))...)
	}
	return append(argv, spec.Args...), nil
}

func accelerator(spec machine.Spec, kvm bool) []string {
	model := spec.CPU
	if known, ok := processorModels[model]; ok {
		model = known
	}
	if kvm {
		if model == "" {
			model = "kvm64"
		}
		return []string{"-accel", "kvm", "-cpu", model}
	}
	// The host's processor cannot be shown without KVM; "max" is all that TCG can emulate.
	if name, flags, _ := strings.Cut(model, ","); name == "host" {
		model = strings.TrimSuffix("max,"+flags, ",")
	}
	if model == "" {
		model = "qemu64"
	}
	return []string{"-accel", fmt.Sprintf("tcg,thread=multi,tb-size=%d", tcgCacheMB), "-cpu", model}
}

// bootIndex is a device's place in the boot order, 0 when it is not in it. PVE counts from 100.
func bootIndex(spec machine.Spec, key string) int {
	if place := slices.Index(spec.Boot, key); place >= 0 {
		return 100 + place
	}
	return 0
}

// escapeOption doubles commas, which end a value in QEMU's option syntax.
func escapeOption(value string) string { return strings.ReplaceAll(value, ",", ",,") }

var errNoBus = errors.New("no such bus or slot (scsi0-30, virtio0-15, ide0-3, sata0-5)")
