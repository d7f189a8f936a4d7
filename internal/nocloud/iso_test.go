package nocloud_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gantry/internal/nocloud"
	"gantry/internal/qemutest"
)

func TestWriteISO(t *testing.T) {
	qemutest.Require(t)
	files := nocloud.Files{
		MetaData:      "instance-id: 1\n",
		UserData:      "#cloud-config\nhostname: vm101\n",
		NetworkConfig: "version: 1\n" + strings.Repeat("# long\n", 1000),
	}
	path := filepath.Join(t.TempDir(), "seed.iso")
	if err := nocloud.WriteISO(path, files); err != nil {
		t.Fatal(err)
	}

	// A second tool reads back what was written, under the names and the label that cloud-init looks for.
	target := t.TempDir()
	output, err := exec.Command("xorriso", "-osirrox", "on", "-indev", path, "-pvd_info", "-extract", "/", target).CombinedOutput()
	if err != nil {
		t.Fatalf("xorriso: %v\n%s", err, output)
	}
	if !strings.Contains(string(output), "Volume Id    : cidata") {
		t.Errorf("label is not cidata:\n%s", output)
	}
	want := map[string]string{"meta-data": files.MetaData, "user-data": files.UserData, "network-config": files.NetworkConfig}
	entries, err := os.ReadDir(target)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(want) {
		t.Errorf("drive holds %v", entries)
	}
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join(target, name))
		if err != nil || string(got) != text {
			t.Errorf("%s = %q, %v, want %q", name, got, err, text)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
}

func TestEqualTextsMakeEqualBytes(t *testing.T) {
	files := nocloud.Files{MetaData: "instance-id: 1\n", UserData: "#cloud-config\n"}
	var images [][]byte
	for _, name := range []string{"a.iso", "b.iso"} {
		path := filepath.Join(t.TempDir(), name)
		if err := nocloud.WriteISO(path, files); err != nil {
			t.Fatal(err)
		}
		image, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(image, []byte("go-diskfs-20")) {
			t.Error("image carries a date")
		}
		images = append(images, image)
	}
	if !bytes.Equal(images[0], images[1]) {
		for i := range images[0] {
			if images[0][i] != images[1][i] {
				t.Fatalf("images differ from byte %d", i)
			}
		}
	}
}

func TestWriteISORefusesHugeFiles(t *testing.T) {
	folder := t.TempDir()
	err := nocloud.WriteISO(filepath.Join(folder, "seed.iso"), nocloud.Files{UserData: strings.Repeat("x", nocloud.MaxFileSize+1)})
	if err == nil || !strings.Contains(err.Error(), "user-data") {
		t.Errorf("error %v does not name the file", err)
	}
	if entries, _ := os.ReadDir(folder); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}
