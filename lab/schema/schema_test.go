package schema

import (
	"strings"
	"testing"
)

func create(t testing.TB) *Method {
	api, err := Load(9)
	if err != nil {
		t.Fatal(err)
	}
	method, _ := api.Find("POST", []string{"nodes", "pve1", "qemu"})
	if method == nil {
		t.Fatal("no create_vm")
	}
	return method
}

// The texts are those of real nodes.
func TestCheckSaysWhatPVESays(t *testing.T) {
	method := create(t)
	for _, fact := range []struct{ name, value, text string }{
		{"vmid", "99", "invalid format - value does not look like a valid VM ID\n"},
		{"vmid", "abc", "type check ('integer') failed - got 'abc'"},
		{"cores", "0", "value must have a minimum value of 1"},
		{"name", "a_b", "invalid format - value does not look like a valid DNS name\n"},
		{"name", "web-01.example.com", ""},
		{"onboot", "true", "type check ('boolean') failed - got 'true'"},
		{"memory", "15", "invalid format - format error\nmemory.current: value must have a minimum value of 16\n"},
		{"agent", "enabled=7", "invalid format - format error\nagent.enabled: type check ('boolean') failed - got '7'\n"},
		{"agent", "enabled=on", ""},
		{"boot", "order=zzz9", "invalid format - format error\nboot.order: invalid format - invalid boot device 'zzz9'\n\n"},
		{"boot", "order=scsi0;net0", ""},
		{"foo", "1", "property is not defined in schema and the schema does not allow additional properties"},
		{"net32", "virtio", "property is not defined in schema and the schema does not allow additional properties"},
		{"net31", "virtio=BC:24:11:00:00:01,bridge=vmbr0,rate=12.5", ""},
		{"net0", "virtio,colour=red", "invalid format - invalid key in comma-separated list property: colour\n"},
		{"net0", "virtio,macaddr=01:00:00:00:00:01", "invalid format - format error\nnet0.macaddr: invalid format - value does not look like a valid unicast MAC address\n\n"},
		{"scsi0", "local:1,format=foo", "invalid format - format error\nscsi0.format: value 'foo' does not have a value in the enumeration 'raw, qcow, qed, qcow2, vmdk, cloop'\n"},
		{"scsi0", "local:0,import-from=local:import/a.qcow2,iops_rd=100,mbps_wr=12.5", ""},
		{"ipconfig0", "ip=10.0.0.2/24,gw=10.0.0.1,ip6=auto", ""},
		{"ipconfig0", "gw=10.0.0.1", "invalid format - format error\nipconfig0.ip: missing property - 'ipconfig0.gw' requires this property\n"},
		{"smbios1", "uuid=46955131-c413-4f1f-9d66-98f25916fa3b,manufacturer=R2FudHJ5,base64=1", ""},
		{"sshkeys", "ssh-ed25519 AAAA joe", "invalid format - invalid urlencoded string: ssh-ed25519 AAAA joe\n"},
		{"sshkeys", "ssh-ed25519%20AAAA%20joe%0A", ""},
	} {
		values := map[string]any{"node": "pve1", "vmid": "100"}
		values[fact.name] = fact.value
		if got := method.Check(values)[fact.name]; got != fact.text {
			t.Errorf("%s=%s\n got %q\nwant %q", fact.name, fact.value, got, fact.text)
		}
	}
}

func FuzzParsePropertyString(f *testing.F) {
	method := create(f)
	formats := map[string]map[string]*Property{}
	for _, name := range []string{"net0", "scsi0", "agent", "memory", "vga"} {
		formats[name] = method.Property(name).Format.Properties
	}
	for _, text := range []string{"virtio=BC:24:11:00:00:01,bridge=vmbr0", "local:1,format=raw,size=1G", "enabled=1,type=virtio", "512", ",,=,a=", "a=b=c"} {
		f.Add("net0", text)
		f.Add("scsi0", text)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		format := formats[name]
		if format == nil {
			return
		}
		values, err := ParsePropertyString(name, format, text)
		if err != nil {
			return
		}
		// What was taken can be written and read again with the same meaning.
		var parts []string
		for key, value := range values {
			parts = append(parts, key+"="+value)
		}
		again, err := ParsePropertyString(name, format, strings.Join(parts, ","))
		if err != nil {
			t.Fatalf("%q: read again: %v", text, err)
		}
		for key, value := range values {
			if again[key] != value {
				t.Errorf("%q: %s = %q, was %q", text, key, again[key], value)
			}
		}
	})
}
