// Package nocloud writes the drive from which cloud-init's NoCloud data source reads.
package nocloud

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
)

// Label is the volume label by which cloud-init knows the drive.
const Label = "cidata"

// MaxFileSize bounds each file in bytes; PVE's own snippets are far below.
const MaxFileSize = 1 << 20

const blockSize = 2048

// Files are the texts of the data source; empty ones are left out of the drive, except that cloud-init refuses a drive
// without meta-data and user-data, so these two are always written.
type Files struct {
	MetaData, UserData, NetworkConfig, VendorData string
}

// epoch dates everything on the drive, so that equal texts make equal bytes.
var epoch = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)

// WriteISO writes an ISO 9660 image with Joliet names to path, replacing one that is there in a single step: a guest that
// has the old file open keeps reading the old texts. Equal texts give equal bytes.
func WriteISO(path string, files Files) error {
	content := map[string]string{"meta-data": files.MetaData, "user-data": files.UserData}
	if files.NetworkConfig != "" {
		content["network-config"] = files.NetworkConfig
	}
	if files.VendorData != "" {
		content["vendor-data"] = files.VendorData
	}
	for name, text := range content {
		if len(text) > MaxFileSize {
			return fmt.Errorf("cloud-init file %s has %d bytes, at most %d are allowed", name, len(text), MaxFileSize)
		}
	}
	if err := writeISO(path, content); err != nil {
		return fmt.Errorf("write cloud-init drive %s: %w", path, err)
	}
	return nil
}

func writeISO(path string, content map[string]string) (err error) {
	folder, err := os.MkdirTemp("", "nocloud-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	for name, text := range content {
		source := filepath.Join(folder, name)
		if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
			return err
		}
		// The library copies the files' times and access bits.
		if err := os.Chmod(source, 0o644); err != nil {
			return err
		}
		if err := os.Chtimes(source, epoch, epoch); err != nil {
			return err
		}
	}
	if err := os.Chtimes(folder, epoch, epoch); err != nil {
		return err
	}

	// The texts hold password hashes: nobody else reads the drive.
	image, err := os.CreateTemp(filepath.Dir(path), ".nocloud-*.iso")
	if err != nil {
		return err
	}
	defer func() {
		_ = image.Close()
		if err != nil {
			_ = os.Remove(image.Name())
		}
	}()
	filesystem, err := iso9660.Create(file.New(image, false), 0, 0, blockSize, folder)
	if err != nil {
		return err
	}
	// Joliet rather than Rock Ridge: both carry the lower-case names, but Rock Ridge records change times too.
	if err := filesystem.Finalize(iso9660.FinalizeOptions{Joliet: true, VolumeIdentifier: Label}); err != nil {
		return err
	}
	if err := fixDates(image); err != nil {
		return err
	}
	if err := pad(image); err != nil {
		return err
	}
	if err := image.Sync(); err != nil {
		return err
	}
	return os.Rename(image.Name(), path)
}

// pad adds the 150 empty sectors that genisoimage adds by default: CD drivers read ahead over the end, and programs that
// look for labels (busybox) give up on a drive that is shorter than what they read first.
func pad(image *os.File) error {
	const sectors = 150
	info, err := image.Stat()
	if err != nil {
		return err
	}
	return image.Truncate(info.Size() + sectors*blockSize)
}

// fixDates overwrites the four dates in each volume descriptor (ECMA-119, 8.4.26 to 8.4.29), which the library takes from
// the clock.
func fixDates(image *os.File) error {
	const (
		firstDescriptor = 16
		terminator      = 255
		datesOffset     = 813
		dateLength      = 17
	)
	created := append([]byte("2000010100000000"), 0)
	unset := append([]byte("0000000000000000"), 0)
	dates := make([]byte, 0, 4*dateLength)
	for _, date := range [][]byte{created, created, unset, unset} {
		dates = append(dates, date...)
	}
	for sector := int64(firstDescriptor); ; sector++ {
		kind := make([]byte, 1)
		if _, err := image.ReadAt(kind, sector*blockSize); err != nil {
			return err
		}
		if kind[0] == terminator {
			return nil
		}
		if _, err := image.WriteAt(dates, sector*blockSize+datesOffset); err != nil {
			return err
		}
	}
}
