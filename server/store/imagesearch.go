package store

import (
	"context"
	"strconv"
	"strings"

	"gorm.io/gorm"

	"gantry/server/broker"
)

// Columns of images by the names that the AMS API has for them.
var (
	imageTexts = map[string]string{
		"name": "name", "fileName": "file_name", "type": "family", "arch": "arch", "osType": "distribution", "url": "url", "path": "directory",
	}
	imageNumbers = map[string]string{"id": "id", "downType": "source", "cloud": "cloud_init", "status": "disabled"}
)

// likePattern finds a text anywhere, its wildcards taken as they are; "!" is the escape character of the query.
func likePattern(text string) string {
	return "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(text) + "%"
}

func (s *session) SearchImages(ctx context.Context, column, text string, page broker.Page) (images []broker.Image, total int64, err error) {
	condition, value := "", any(nil)
	if name, known := imageTexts[column]; known {
		// LOWER on both sides: MySQL's tables compare bytes.
		condition, value = "LOWER("+name+") LIKE LOWER(?) ESCAPE '!'", likePattern(text)
	} else if name, known := imageNumbers[column]; known {
		number, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if err != nil {
			return nil, 0, broker.InvalidField("value", "must be a whole number")
		}
		condition, value = name+" = ?", number
	} else {
		return nil, 0, broker.InvalidField("param", "must be one of name, fileName, type, arch, osType, url, path, id, downType, cloud, status")
	}
	err = s.read(ctx, "search images", func(db *gorm.DB) error {
		rows, count, err := listPage[imageRow](db.Where(condition, value).Session(&gorm.Session{}), page, "id")
		images, total = nouns(rows, (*imageRow).noun), count
		return err
	})
	return images, total, err
}

func (s *session) CountImageVMs(ctx context.Context, image int64) (count int64, err error) {
	err = s.read(ctx, "count the machines of an image", func(db *gorm.DB) error {
		return db.Model(&vmRow{}).Where("image_id = ? AND deleted_at = 0", image).Count(&count).Error
	})
	return count, err
}

func (s *session) ListNodeImages(ctx context.Context, node int64, page broker.Page) (images []broker.Image, total int64, err error) {
	err = s.read(ctx, "list the images of a node", func(db *gorm.DB) error {
		ready := db.Session(&gorm.Session{NewDB: true}).Model(&imageCopyRow{}).Select("image_id").
			Where("node_id = ? AND state = ?", node, broker.ImageReady)
		rows, count, err := listPage[imageRow](db.Where("disabled = ? AND id IN (?)", false, ready).Session(&gorm.Session{}), page, "id")
		images, total = nouns(rows, (*imageRow).noun), count
		return err
	})
	return images, total, err
}
