package qemu

import (
	"strings"
	"testing"

	"gantry/lab/machine"
)

func TestAccelerator(t *testing.T) {
	for _, c := range []struct {
		cpu  string
		kvm  bool
		want string
	}{
		{"", false, "qemu64"},
		{"", true, "kvm64"},
		{"host", true, "host"},
		{"host", false, "max"},
		{"host,+aes", false, "max,+aes"},
		{"x86-64-v2-AES", false, "qemu64,+aes,+popcnt,+pni,+sse4.1,+sse4.2,+ssse3"},
		{"Haswell,-hle", true, "Haswell,-hle"},
	} {
		got := accelerator(machine.Spec{CPU: c.cpu}, c.kvm)
		if got[3] != c.want || strings.HasPrefix(got[1], "kvm") != c.kvm {
			t.Errorf("cpu %q, KVM %t: %v, want model %s", c.cpu, c.kvm, got, c.want)
		}
	}
}

// TestNamesStayValues gives hostile names: each must arrive as the value of its option and nothing else.
func TestNamesStayValues(t *testing.T) {
	spec := machine.Spec{VMID: 100, Name: "a,process=b", RunDir: "/run/x,y", MemoryMB: 64, Serial: true}
	argv, err := arguments(spec, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Join(argv, "\x00")
	for _, want := range []string{"-name\x00a,,process=b,debug-threads=on", "logfile=/run/x,,y/serial.log"} {
		if !strings.Contains(line, want) {
			t.Errorf("no %q in %q", want, argv)
		}
	}
}
