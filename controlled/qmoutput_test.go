package controlled

import (
	"strings"
	"testing"
)

func TestParseImportOutput(t *testing.T) {
	for name, row := range map[string]struct {
		output string
		want   importProgress
	}{
		"nothing":        {"", importProgress{}},
		"begin":          {"importing disk '/x' to VM 110 ...\ntransferred 0.0 B of 2.0 GiB (0.00%)", importProgress{}},
		"half":           {"transferred 0.0 B of 2.0 GiB (0.00%)\ntransferred 1.0 GiB of 2.0 GiB (50.05%)\n", importProgress{percent: 50.05}},
		"cut line":       {"nsferred 1.0 GiB of 2.0 GiB (50.05%)\ntransferred 1.5 GiB of 2.0 GiB (75.00%)\ntransferred 1.6", importProgress{percent: 75}},
		"carriage":       {"transferred 1.0 GiB of 2.0 GiB (50.05%)\rtransferred 1.5 GiB of 2.0 GiB (75.00%)\r", importProgress{percent: 75}},
		"beyond 100":     {"transferred 1.0 GiB of 2.0 GiB (150.00%)", importProgress{}},
		"directory":      {"Successfully imported disk as 'unused0:local:110/vm-110-disk-0.qcow2'", importProgress{100, "local:110/vm-110-disk-0.qcow2", "unused0"}},
		"LVM":            {"Successfully imported disk as 'unused1:luks3-lvm:vm-102-disk-3'\n", importProgress{100, "luks3-lvm:vm-102-disk-3", "unused1"}},
		"lower case":     {"successfully imported disk as 'unused0:local-lvm:vm-107-disk-0'", importProgress{100, "local-lvm:vm-107-disk-0", "unused0"}},
		"since 8.2.7":    {"unused0: successfully imported disk 'local-lvm:vm-612-disk-0'", importProgress{100, "local-lvm:vm-612-disk-0", "unused0"}},
		"target disk":    {"scsi0: successfully imported disk 'local:100/vm-100-disk-0.raw'", importProgress{100, "local:100/vm-100-disk-0.raw", "scsi0"}},
		"no volume":      {"Successfully imported disk as 'unused0'", importProgress{}},
		"quoted earlier": {"importing disk 'Successfully imported disk as 'unused0:a:b'' to VM 110 ...", importProgress{}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := parseImportOutput(row.output); got != row.want {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
		})
	}
}

func FuzzParseImportOutput(f *testing.F) {
	f.Add("transferred 1.0 GiB of 2.0 GiB (50.05%)\nSuccessfully imported disk as 'unused0:local:110/vm-110-disk-0.qcow2'\n")
	f.Add("unused0: successfully imported disk 'local-lvm:vm-612-disk-0'")
	f.Add("\r\n(%)'':")
	f.Fuzz(func(t *testing.T, output string) {
		got := parseImportOutput(output)
		if !(got.percent >= 0 && got.percent <= 100) {
			t.Errorf("percent %v", got.percent)
		}
		if (got.volumeID == "") != (got.configKey == "") || strings.ContainsAny(got.volumeID, "'\n\r ") {
			t.Errorf("volume %q at %q", got.volumeID, got.configKey)
		}
		if got.volumeID != "" && (!strings.Contains(output, got.volumeID) || !strings.Contains(got.volumeID, ":")) {
			t.Errorf("volume %q was not printed", got.volumeID)
		}
	})
}
