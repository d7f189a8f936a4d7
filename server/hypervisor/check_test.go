package hypervisor

import (
	"strings"
	"testing"

	"gantry/server/broker"
)

func TestVolumeNames(t *testing.T) {
	for name, good := range map[string]bool{
		"local:100/vm-100-disk-0.qcow2": true, "data:vm-1-disk-0": true, "local:9000/base-9000-disk-0.qcow2/521/vm-521-disk-0.qcow2": true,
		"local:import/x.qcow2": true, "": false, "/etc/passwd": false, "local:a,size=1G": false, "local:../x": false, "local:a b": false,
		"local:x\n": false, "none": false, "a:" + strings.Repeat("x", 256): false,
	} {
		if err := CheckVolume(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestFetchIsPlainWeb(t *testing.T) {
	for address, good := range map[string]bool{
		"https://a.example/x.qcow2": true, "http://10.0.0.1:80/x?y=z": true, "ftp://a/x": false, "file:///etc/passwd": false, "https://": false,
		"https://a\n/": false, "x": false, "https://a/" + strings.Repeat("x", 2048): false,
	} {
		if err := CheckFetch(ImageFetch{FileName: "x.qcow2", URL: address}); (err == nil) != good {
			t.Errorf("%.40q: %v", address, err)
		}
	}
}

func TestRegistry(t *testing.T) {
	opened := ""
	kind := func(name string) Kind {
		return Kind{Name: name, Open: func(Settings) (Driver, error) {
			opened = name
			return nil, nil
		}}
	}
	registry := NewRegistry(kind("pve"), kind("libvirt"))
	if kinds := registry.Kinds(); len(kinds) != 2 || kinds[0].Name != "libvirt" || kinds[1].Name != "pve" {
		t.Errorf("kinds are %v", kinds)
	}
	if _, err := registry.Open("pve", Settings{}); err != nil || opened != "pve" {
		t.Errorf("opened %q, %v", opened, err)
	}
	if _, err := registry.Open("esx", Settings{}); !broker.Is(err, broker.Invalid) {
		t.Errorf("an unknown kind: %v", err)
	}
}
