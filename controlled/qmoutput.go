package controlled

import (
	"regexp"
	"strconv"
	"strings"
)

// importProgress is what the output of "qm importdisk" says so far.
type importProgress struct {
	percent   float64 // 0…100
	volumeID  string  // set when qm reported success
	configKey string  // where the volume hangs in the guest's configuration
}

var (
	// "transferred 1.5 GiB of 2.2 GiB (68.18%)", PVE::QemuServer::Image
	transferredLine = regexp.MustCompile(`^transferred .* \((\d{1,3}(?:\.\d+)?)%\)$`)
	// "Successfully imported disk as 'unused0:local:110/vm-110-disk-0.qcow2'", qemu-server before 8.2.7
	importedLine = regexp.MustCompile(`^[Ss]uccessfully imported disk as '([a-z]+\d+):([^'\s]+:[^'\s]+)'$`)
	// "unused0: successfully imported disk 'local:110/vm-110-disk-0.qcow2'", qemu-server from 8.2.7 on
	importedLineNew = regexp.MustCompile(`^([a-z]+\d+): successfully imported disk '([^'\s]+:[^'\s]+)'$`)
)

// parseImportOutput reads the output of "qm importdisk". Lines that it does not know are skipped; the text may begin in
// the middle of a line. qm ends progress lines with a newline, its children may use a carriage return.
func parseImportOutput(output string) importProgress {
	var progress importProgress
	for line := range strings.FieldsFuncSeq(output, func(r rune) bool { return r == '\n' || r == '\r' }) {
		line = strings.TrimSpace(line)
		if match := transferredLine.FindStringSubmatch(line); match != nil {
			if percent, err := strconv.ParseFloat(match[1], 64); err == nil && percent <= 100 {
				progress.percent = percent
			}
			continue
		}
		match := importedLine.FindStringSubmatch(line)
		if match == nil {
			match = importedLineNew.FindStringSubmatch(line)
		}
		if match != nil {
			progress.configKey, progress.volumeID = match[1], match[2]
		}
	}
	if progress.volumeID != "" {
		progress.percent = 100
	}
	return progress
}
