package store

import (
	"context"
	"fmt"
	"strconv"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"gantry/server/broker"
)

type imageRow struct {
	ID           int64
	Name         string
	FileName     string
	Family       string
	Distribution string
	Arch         string
	Source       int
	URL          string `gorm:"column:url"`
	Checksum     string
	Directory    string
	CloudInit    bool
	GuestAgent   bool
	SizeBytes    int64
	Disabled     bool
	Reason       string
	CreatedAt    micros `gorm:"autoCreateTime:false"`
}

func (imageRow) TableName() string { return "images" }

func newImageRow(image *broker.Image) *imageRow {
	return &imageRow{
		ID: image.ID, Name: image.Name, FileName: image.FileName, Family: image.Family, Distribution: image.Distribution,
		Arch: image.Arch, Source: int(image.Source), URL: image.URL, Checksum: image.Checksum, Directory: image.Directory,
		CloudInit: image.CloudInit, GuestAgent: image.GuestAgent, SizeBytes: image.SizeBytes, Disabled: image.Disabled, Reason: image.Reason,
		CreatedAt: fromTime(image.CreatedAt),
	}
}

func (r *imageRow) noun() broker.Image {
	return broker.Image{
		ID: r.ID, Name: r.Name, FileName: r.FileName, Family: r.Family, Distribution: r.Distribution, Arch: r.Arch,
		Source: broker.ImageSource(r.Source), URL: r.URL, Checksum: r.Checksum, Directory: r.Directory, CloudInit: r.CloudInit, GuestAgent: r.GuestAgent,
		SizeBytes: r.SizeBytes, Disabled: r.Disabled, Reason: r.Reason, CreatedAt: r.CreatedAt.time(),
	}
}

// imageTaken says which of the two unique names is the other image's.
func (s *session) imageTaken(err error, image *broker.Image) error {
	if err == nil || !s.engine.duplicate(err) {
		return err
	}
	if violates(err, "images", "file_name") {
		return &broker.Error{Kind: broker.Exists, Field: "fileName",
			Detail: fmt.Sprintf("an image with file name %q exists already", image.FileName), Err: err}
	}
	return &broker.Error{Kind: broker.Exists, Field: "name", Detail: fmt.Sprintf("an image named %q exists already", image.Name), Err: err}
}

func (s *session) InsertImage(ctx context.Context, image *broker.Image) error {
	return s.write(ctx, "add image", func(db *gorm.DB) error {
		row := newImageRow(image)
		row.ID = 0
		if err := db.Create(row).Error; err != nil {
			return s.imageTaken(err, image)
		}
		image.ID = row.ID
		return nil
	})
}

func (s *session) UpdateImage(ctx context.Context, image *broker.Image) error {
	return s.write(ctx, "change image", func(db *gorm.DB) error {
		result := db.Select("*").Omit("id", "created_at").Updates(newImageRow(image))
		return s.imageTaken(changed(result, "image", image.ID), image)
	})
}

// DeleteImage also forgets the image's copies.
func (s *session) DeleteImage(ctx context.Context, id int64) error {
	return s.write(ctx, "remove image", func(db *gorm.DB) error {
		return changed(db.Delete(&imageRow{}, id), "image", id)
	})
}

func (s *session) FindImage(ctx context.Context, id int64) (*broker.Image, error) {
	image, err := lookup(s, lookupKey{query: "image", id: id}, func() (found *broker.Image, err error) {
		err = s.read(ctx, "find image", func(db *gorm.DB) error {
			found, err = findImage(db.Where("id = ?", id), id)
			return err
		})
		return found, err
	})
	return copied(image), err
}

// FindImageByName takes what fits first in the order that broker.ImageStore gives.
func (s *session) FindImageByName(ctx context.Context, name string) (*broker.Image, error) {
	image, err := lookup(s, lookupKey{query: "image by name", text: name}, func() (*broker.Image, error) {
		return s.findImageByName(ctx, name)
	})
	return copied(image), err
}

func (s *session) findImageByName(ctx context.Context, name string) (found *broker.Image, err error) {
	id, err := strconv.ParseInt(name, 10, 64)
	if err != nil {
		id = 0
	}
	err = s.read(ctx, "find image", func(db *gorm.DB) error {
		found, err = findImage(db.Where("file_name IN ? OR name = ? OR id = ?", []string{name, name + ".qcow2"}, name, id).
			Order(clause.OrderBy{Expression: clause.Expr{
				SQL:  "CASE WHEN id = ? THEN 0 WHEN name = ? THEN 1 WHEN file_name = ? THEN 2 ELSE 3 END",
				Vars: []any{id, name, name},
			}}), name)
		return err
	})
	return found, err
}

func findImage(query *gorm.DB, key any) (*broker.Image, error) {
	var row imageRow
	result := query.Limit(1).Find(&row)
	if result.Error != nil {
		return nil, result.Error
	}
	if result.RowsAffected == 0 {
		return nil, broker.Because(broker.NotFound, broker.ReasonImageNotFound, fmt.Sprint(key))
	}
	image := row.noun()
	return &image, nil
}

func (s *session) ListImages(ctx context.Context, page broker.Page) (images []broker.Image, total int64, err error) {
	err = s.read(ctx, "list images", func(db *gorm.DB) error {
		rows, count, err := listPage[imageRow](db, page, "id")
		images, total = nouns(rows, (*imageRow).noun), count
		return err
	})
	return images, total, err
}

type imageCopyRow struct {
	ImageID   int64 `gorm:"primaryKey;autoIncrement:false"`
	NodeID    int64 `gorm:"primaryKey;autoIncrement:false"`
	State     int
	Progress  int
	Volume    string
	ByDaemon  bool
	SizeBytes int64
	Error     string
	TaskID    *int64
	UpdatedAt micros `gorm:"autoUpdateTime:false"`
}

func (imageCopyRow) TableName() string { return "image_copies" }

func (r *imageCopyRow) noun() broker.ImageCopy {
	return broker.ImageCopy{
		ImageID: r.ImageID, NodeID: r.NodeID, State: broker.ImageCopyState(r.State), Progress: r.Progress, Volume: r.Volume,
		ByDaemon: r.ByDaemon, SizeBytes: r.SizeBytes, Error: r.Error, TaskID: r.TaskID, UpdatedAt: r.UpdatedAt.time(),
	}
}

func (s *session) SaveImageCopy(ctx context.Context, imageCopy *broker.ImageCopy) error {
	return s.write(ctx, "store image state", func(db *gorm.DB) error {
		return db.Clauses(clause.OnConflict{
			Columns: []clause.Column{{Name: "image_id"}, {Name: "node_id"}},
			DoUpdates: clause.AssignmentColumns([]string{
				"state", "progress", "volume", "by_daemon", "size_bytes", "error", "task_id", "updated_at"}),
		}).Create(&imageCopyRow{
			ImageID: imageCopy.ImageID, NodeID: imageCopy.NodeID, State: int(imageCopy.State), Progress: imageCopy.Progress,
			Volume: imageCopy.Volume, ByDaemon: imageCopy.ByDaemon, SizeBytes: imageCopy.SizeBytes, Error: imageCopy.Error,
			TaskID: imageCopy.TaskID, UpdatedAt: fromTime(imageCopy.UpdatedAt),
		}).Error
	})
}

func (s *session) FindImageCopy(ctx context.Context, image, node int64) (*broker.ImageCopy, error) {
	imageCopy, err := lookup(s, lookupKey{query: "image copy", id: image, of: node}, func() (*broker.ImageCopy, error) {
		return s.findImageCopy(ctx, image, node)
	})
	return copied(imageCopy), err
}

func (s *session) findImageCopy(ctx context.Context, image, node int64) (found *broker.ImageCopy, err error) {
	err = s.read(ctx, "find image state", func(db *gorm.DB) error {
		var row imageCopyRow
		if err := first(db.Where("image_id = ? AND node_id = ?", image, node), &row, "copy of image", image); err != nil {
			return err
		}
		imageCopy := row.noun()
		found = &imageCopy
		return nil
	})
	return found, err
}

func (s *session) ListImageCopies(ctx context.Context, image int64) (copies []broker.ImageCopy, err error) {
	err = s.read(ctx, "list image states", func(db *gorm.DB) error {
		var rows []imageCopyRow
		err := db.Where("image_id = ?", image).Order("node_id").Find(&rows).Error
		copies = nouns(rows, (*imageCopyRow).noun)
		return err
	})
	return copies, err
}
