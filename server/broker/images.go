package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
)

var (
	imageFilePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,119}\.(qcow2|img|raw|vmdk)$`)
	checksumPattern  = regexp.MustCompile(`^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$`)
)

// DownloadImageData is the state that a download task begins with.
type DownloadImageData struct {
	ImageID int64 `json:"imageId"`
}

// AddImage checks an image and stores it. Exists when its name or file name is taken.
func (b *Broker) AddImage(ctx context.Context, image *Image) error {
	if err := CheckImage(image); err != nil {
		return err
	}
	image.CreatedAt = b.now().UTC()
	return b.store.InsertImage(ctx, image)
}

// CheckImage fills defaults in and refuses what can't be an image.
func CheckImage(image *Image) error {
	image.Name = strings.TrimSpace(image.Name)
	if image.Name == "" || len(image.Name) > 100 {
		return InvalidField("name", "1 to 100 characters")
	}
	if !imageFilePattern.MatchString(image.FileName) {
		return InvalidField("fileName", "letters, digits and ._+- ending in .qcow2, .img, .raw or .vmdk")
	}
	switch image.Family {
	case "linux", "windows":
	case "win":
		image.Family = "windows"
	default:
		return InvalidField("type", "%q is neither linux nor windows", bounded(image.Family))
	}
	if err := checkArchitecture(image); err != nil {
		return err
	}
	if err := checkDistribution(image); err != nil {
		return err
	}
	if image.Source != ImageFromURL && image.Source != ImageUploaded {
		return InvalidField("downType", "%d is neither 0 (download) nor 1 (uploaded)", image.Source)
	}
	if image.Source == ImageFromURL {
		if err := checkImageURL(image.URL); err != nil {
			return err
		}
	}
	switch {
	case ChecksumIsFile(image.Checksum):
		if len(image.Checksum) > maxChecksum || checkImageURL(image.Checksum) != nil {
			return InvalidField("checksum", "must be an http or https address of %d characters at most", maxChecksum)
		}
	case image.Checksum != "" && !checksumPattern.MatchString(image.Checksum):
		return InvalidField("checksum", "must be sha256: or sha512: and lower-case hex, or the address of a checksum file")
	}
	if image.Directory == "" || image.Directory == "default" {
		image.Directory = "/home/images"
	}
	if !path.IsAbs(image.Directory) || path.Clean(image.Directory) != strings.TrimSuffix(image.Directory, "/") || len(image.Directory) > 200 {
		return InvalidField("path", "must be an absolute path without . or ..")
	}
	image.Directory = path.Clean(image.Directory)
	return nil
}

// maxChecksum is how long a checksum or the address of a checksum file may be.
const maxChecksum = 200

// ChecksumIsFile tells that a checksum is the address of its publisher's checksum file.
func ChecksumIsFile(checksum string) bool {
	return strings.HasPrefix(checksum, "https://") || strings.HasPrefix(checksum, "http://")
}

func checkArchitecture(image *Image) error {
	switch image.Arch {
	case "":
		image.Arch = "x86_64"
	case "x86_64", "arm64", "armhf", "ppc64el", "riscv64", "s390x", "aarch64", "armv7l":
	case "arrch64": // the seed's spelling of orders is accepted here, too
		image.Arch = "aarch64"
	default:
		failure := Because(Invalid, ReasonArchitecture, bounded(image.Arch))
		failure.Field = "arch"
		return failure
	}
	return nil
}

func checkDistribution(image *Image) error {
	switch image.Distribution {
	case "centos", "debian", "ubuntu", "alpine", "fedora", "opensuse", "ubuntukylin", "other",
		"almalinux", "archlinux", "openeuler", "oracle", "rocky": // the documentation says "and so on"
		return nil
	case "":
		if image.Family == "linux" {
			return InvalidField("osType", "is needed for type linux: centos, debian, ubuntu, alpine, fedora, opensuse, ubuntukylin, almalinux, archlinux, openeuler, oracle, rocky or other")
		}
		return nil
	}
	if image.Family == "windows" && len(image.Distribution) <= 32 && namePattern.MatchString(image.Distribution) {
		return nil
	}
	return InvalidField("osType", "%q is none of centos, debian, ubuntu, alpine, fedora, opensuse, ubuntukylin, almalinux, archlinux, openeuler, oracle, rocky, other", bounded(image.Distribution))
}

func checkImageURL(text string) error {
	if text == "" {
		return InvalidField("url", "is needed when downType is 0")
	}
	address, err := url.Parse(text)
	if err != nil || len(text) > 2000 || (address.Scheme != "http" && address.Scheme != "https") || address.Host == "" || address.User != nil {
		return InvalidField("url", "must be an http or https URL without user name")
	}
	return nil
}

// DownloadImage queues the download of an image to a node. A download that is under way already is returned as it is.
func (b *Broker) DownloadImage(ctx context.Context, imageID, nodeID int64, actor Actor) (*Task, error) {
	image, err := b.store.FindImage(ctx, imageID)
	if Is(err, NotFound) {
		failure := Because(NotFound, ReasonImageNotFound, fmt.Sprint(imageID))
		failure.Field = "osId"
		return nil, failure
	}
	if err != nil {
		return nil, err
	}
	node, _, err := b.usableNode(ctx, nodeID, "")
	if err != nil {
		if known, ok := err.(*Error); ok && known.Field == "nodeid" {
			known.Field = "nodeId"
		}
		return nil, err
	}
	data, err := json.Marshal(DownloadImageData{ImageID: image.ID})
	if err != nil {
		return nil, Wrap(err, "describe the download task")
	}
	var task *Task
	err = b.store.Transact(ctx, func(tx Tx) error {
		task, err = b.queueDownload(ctx, tx, image, node, data, actor)
		return err
	})
	if err == nil {
		b.queue.Wake()
	}
	return task, err
}

func (b *Broker) queueDownload(ctx context.Context, tx Tx, image *Image, node *Node, data json.RawMessage, actor Actor) (*Task, error) {
	now := b.now().UTC()
	imageCopy, err := tx.FindImageCopy(ctx, image.ID, node.ID)
	if Is(err, NotFound) {
		imageCopy, err = &ImageCopy{ImageID: image.ID, NodeID: node.ID}, nil
	}
	if err != nil {
		return nil, err
	}
	if imageCopy.State == ImageDownloading && imageCopy.TaskID != nil {
		return tx.FindTask(ctx, *imageCopy.TaskID)
	}
	task := &Task{
		Kind: DownloadImageKind, ClusterID: node.ClusterID, NodeID: node.ID, Data: data, State: TaskReady,
		Tenant: actor.APIKeyID, RequestedBy: actor.Name, RequestID: actor.RequestID,
		CreatedAt: now, UpdatedAt: now, RunAfter: now, Deadline: now.Add(b.queue.Deadline(DownloadImageKind)),
	}
	if err := tx.InsertTask(ctx, task); err != nil {
		return nil, err
	}
	imageCopy.State, imageCopy.Progress, imageCopy.Error = ImageDownloading, 0, ""
	imageCopy.TaskID, imageCopy.UpdatedAt = &task.ID, now
	return task, tx.SaveImageCopy(ctx, imageCopy)
}
