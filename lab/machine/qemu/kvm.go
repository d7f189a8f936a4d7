package qemu

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// kvmProbeTimeout bounds the probe; a working KVM is through in half a second.
const kvmProbeTimeout = 3 * time.Second

// kvmProbe remembers whether KVM runs guests here.
type kvmProbe struct {
	once   sync.Once
	usable bool
}

// KVMUsable tells whether guests can run under KVM here. /dev/kvm may be there, and open, and even run a BIOS by emulating
// each instruction, and yet boot no kernel (KVM without the processor's help). So a small machine is started once, which
// must switch to 64-bit code and count at a real processor's speed. The first call may take three seconds.
func (b *Backend) KVMUsable() bool {
	b.kvm.once.Do(func() {
		b.kvm.usable = KVMWorks(b.emulator)
		b.logger.Info("looked for KVM", "usable", b.kvm.usable)
	})
	return b.kvm.usable
}

// KVMWorks tells whether an emulator runs guests under KVM here, as KVMUsable does, and looks anew at each call.
func KVMWorks(emulator string) bool { return processorVirtualizes() && runsUnder(emulator, "kvm") }

// processorVirtualizes tells whether the processor offers VT-x or AMD-V at all, which saves the probe where it does not.
func processorVirtualizes() bool {
	content, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(content)) {
		if flags, found := strings.CutPrefix(line, "flags"); found {
			return strings.Contains(flags, " vmx") || strings.Contains(flags, " svm")
		}
	}
	return false
}

// probeMessage is what probeSector writes to the BIOS's debug port 0x402 when it has run.
const probeMessage = "64-bit code runs\n"

// probeSector is a boot sector: it maps the first 2 MiB, switches to long mode, counts down from 2^27 (a moment for a
// processor, minutes for an emulator of single instructions) and writes probeMessage.
const probeSector = "" +
	"\xfa\x31\xc0\x8e\xd8\x8e\xc0" + // cli; xor ax,ax; mov ds,ax; mov es,ax
	"\x66\xbf\x00\x10\x00\x00\x0f\x22\xdf" + // mov edi,0x1000; mov cr3,edi
	"\x66\x31\xc0\x66\xb9\x00\x0c\x00\x00\x66\xf3\xab" + // xor eax,eax; mov ecx,0xc00; rep stosd: empty page tables
	"\x66\xc7\x06\x00\x10\x03\x20\x00\x00" + // mov dword [0x1000],0x2003: PML4 entry 0
	"\x66\xc7\x06\x00\x20\x03\x30\x00\x00" + // mov dword [0x2000],0x3003: PDPT entry 0
	"\x66\xc7\x06\x00\x30\x83\x00\x00\x00" + // mov dword [0x3000],0x83: a 2 MiB page at 0
	"\x66\xb8\x20\x00\x00\x00\x0f\x22\xe0" + // mov eax,0x20; mov cr4,eax: PAE
	"\x66\xb9\x80\x00\x00\xc0\x0f\x32\x66\x0d\x00\x01\x00\x00\x0f\x30" + // set EFER.LME
	"\x66\x0f\x01\x16\xa8\x7c" + // lgdt [0x7ca8]
	"\x0f\x20\xc0\x66\x0d\x01\x00\x00\x80\x0f\x22\xc0" + // set CR0.PG and CR0.PE
	"\x66\xea\x6a\x7c\x00\x00\x08\x00" + // jmp 8:0x7c6a
	"\xb9\x00\x00\x00\x08\xff\xc9\x75\xfc" + // mov ecx,0x8000000; dec ecx; jnz -4
	"\xbe\x87\x7c\x00\x00\xba\x02\x04\x00\x00" + // mov esi,0x7c87; mov edx,0x402
	"\xb9\x11\x00\x00\x00\xf3\x6e\xf4\xeb\xfd" + // mov ecx,17; rep outsb; hlt; jmp -3
	probeMessage +
	"\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x9b\x20\x00" + // GDT: null, 64-bit code
	"\x0f\x00\x98\x7c\x00\x00" // GDT's limit and address

// runsUnder starts the probe's machine under an accelerator and tells whether it came through in time.
func runsUnder(emulator, accelerator string) bool {
	folder, err := os.MkdirTemp("", "kvm-probe-")
	if err != nil {
		return false
	}
	defer func() { _ = os.RemoveAll(folder) }()
	disk := filepath.Join(folder, "boot.raw")
	sector := probeSector + strings.Repeat("\x00", 510-len(probeSector)) + "\x55\xaa"
	if err := os.WriteFile(disk, []byte(sector), 0o600); err != nil {
		return false
	}

	ctx, cancel := context.WithTimeout(context.Background(), kvmProbeTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, emulator, "-accel", accelerator, "-machine", "type=pc", "-m", "16", "-display", "none",
		"-no-user-config", "-nodefaults", "-no-reboot", "-drive", "format=raw,if=ide,file="+escapeOption(disk),
		"-chardev", "stdio,id=bios", "-device", "isa-debugcon,iobase=0x402,chardev=bios")
	command.WaitDelay = time.Second
	output, err := command.StdoutPipe()
	if err != nil {
		return false
	}
	if err := command.Start(); err != nil {
		return false
	}
	// The BIOS talks on the same port before.
	came := false
	lines := bufio.NewReader(io.LimitReader(output, maxOutput))
	for err == nil && !came {
		var line string
		line, err = lines.ReadString('\n')
		came = line == probeMessage
	}
	cancel()
	_ = command.Wait()
	return came
}
