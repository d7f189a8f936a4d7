package controlled

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/gin-gonic/gin"

	wire "gantry/internal/controlledclient"
)

func (i *imports) routes(router gin.IRoutes) {
	router.POST("/importDisk", i.importDisk)
}

// imports puts image files into a guest's storage with "qm importdisk".
type imports struct {
	qm         []string
	folders    folders
	operations *operations
}

// PVE::JSONSchema's limits of a VMID.
const (
	minVMID = 100
	maxVMID = 999_999_999
)

// storagePattern is PVE's format pve-storage-id.
var storagePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]$`)

const maxStorageLength = 100

var volumeFormats = []string{"", "raw", "qcow2", "vmdk"}

// importDisk answers at once, as documented. Its data is the operation to ask for with GET /operations/{id}.
func (i *imports) importDisk(c *gin.Context) {
	var body wire.ImportDisk
	if err := readBody(c, &body); err != nil {
		fail(c, err)
		return
	}
	image, err := i.check(body)
	if err != nil {
		fail(c, err)
		return
	}
	vmid := strconv.FormatInt(body.VMID, 10)
	arguments := []string{"importdisk", vmid, image, body.SavePath}
	if body.Format != "" {
		arguments = append(arguments, "--format", body.Format)
	}
	operation, err := i.operations.begin(body.Operation, operationOrder{
		Kind: "importDisk", VMID: body.VMID, Request: arguments, Command: slices.Concat(i.qm, arguments),
	})
	if err != nil {
		fail(c, err)
		return
	}
	succeed(c, operation)
}

// check returns the cleaned path of the image.
func (i *imports) check(body wire.ImportDisk) (string, error) {
	if err := checkVMID("vmid", body.VMID); err != nil {
		return "", err
	}
	switch {
	case body.SavePath == "":
		return "", invalid("save_path", "is missing")
	case len(body.SavePath) > maxStorageLength || !storagePattern.MatchString(body.SavePath):
		return "", invalid("save_path", "must be the name of a PVE storage")
	case !slices.Contains(volumeFormats, body.Format):
		return "", invalid("format", "must be raw, qcow2 or vmdk")
	case body.Operation != "" && !operationIDPattern.MatchString(body.Operation):
		return "", invalid("operation", `must be up to 64 letters, digits, "-" or "_"`)
	case body.ImagePath == "":
		return "", invalid("image_path", "is missing")
	}
	directory, name := filepath.Split(body.ImagePath)
	if err := checkName("image_path", name); err != nil {
		return "", err
	}
	folder, err := i.folders.open("image_path", directory)
	if err != nil {
		return "", err
	}
	defer folder.Close()
	if err := regularFile(folder, "image_path", name); err != nil {
		return "", err
	}
	return filepath.Join(directory, name), nil
}

func checkVMID(field string, vmid int64) error {
	if vmid == 0 {
		return invalid(field, "is missing")
	}
	if vmid < minVMID || vmid > maxVMID {
		return invalid(field, "must be between %d and %d", minVMID, maxVMID)
	}
	return nil
}
