package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"gantry/server/broker"
)

// contentRow is a row of the tables that hold a JSON text each: plans and hardware models.
type contentRow[Noun any] struct {
	ID        int64
	Content   document[Noun]
	CreatedAt micros `gorm:"autoCreateTime:false"`
}

// contents is one of these tables.
type contents[Noun any] struct {
	table, noun string
	// fill sets what is not in the JSON text.
	fill func(noun *Noun, id int64, created time.Time)
}

var (
	plans = contents[broker.Plan]{"plans", "plan", func(noun *broker.Plan, id int64, created time.Time) {
		noun.ID, noun.CreatedAt = id, created
	}}
	cpuModels = contents[broker.CPUModel]{"cpu_models", "CPU model", func(noun *broker.CPUModel, id int64, created time.Time) {
		noun.ID, noun.CreatedAt = id, created
	}}
	smbiosModels = contents[broker.SMBIOSModel]{"smbios_models", "SMBIOS model", func(noun *broker.SMBIOSModel, id int64, created time.Time) {
		noun.ID, noun.CreatedAt = id, created
	}}
	modelGroups = contents[broker.ModelGroup]{"model_groups", "model group", func(noun *broker.ModelGroup, id int64, created time.Time) {
		noun.ID, noun.CreatedAt = id, created
	}}
)

func (c contents[Noun]) insert(ctx context.Context, s *session, noun *Noun, created time.Time) error {
	return s.writeOne(ctx, "add "+c.noun, func(db *gorm.DB) error {
		row := contentRow[Noun]{Content: document[Noun]{*noun}, CreatedAt: fromTime(created)}
		if err := db.Table(c.table).Create(&row).Error; err != nil {
			return err
		}
		c.fill(noun, row.ID, created)
		return nil
	})
}

func (c contents[Noun]) update(ctx context.Context, s *session, id int64, noun *Noun) error {
	return s.write(ctx, "change "+c.noun, func(db *gorm.DB) error {
		var row contentRow[Noun]
		// MySQL does not count rows that an update leaves as they are.
		if err := first(db.Table(c.table).Where("id = ?", id), &row, c.noun, id); err != nil {
			return err
		}
		return db.Table(c.table).Where("id = ?", id).Update("content", document[Noun]{*noun}).Error
	})
}

func (c contents[Noun]) delete(ctx context.Context, s *session, id int64) error {
	return s.writeOne(ctx, "delete "+c.noun, func(db *gorm.DB) error {
		return changed(db.Table(c.table).Where("id = ?", id).Delete(&contentRow[Noun]{}), c.noun, id)
	})
}

func (c contents[Noun]) find(ctx context.Context, s *session, id int64) (found *Noun, err error) {
	err = s.read(ctx, "find "+c.noun, func(db *gorm.DB) error {
		var row contentRow[Noun]
		if err := first(db.Table(c.table).Where("id = ?", id), &row, c.noun, id); err != nil {
			return err
		}
		found = c.read(&row)
		return nil
	})
	return found, err
}

func (c contents[Noun]) read(row *contentRow[Noun]) *Noun {
	noun := row.Content.value
	c.fill(&noun, row.ID, row.CreatedAt.time())
	return &noun
}

// list gives a page, oldest first; without a size all of them.
func (c contents[Noun]) list(ctx context.Context, s *session, page broker.Page) (nouns []Noun, total int64, err error) {
	err = s.read(ctx, "list "+c.noun, func(db *gorm.DB) error {
		if err := db.Table(c.table).Count(&total).Error; err != nil {
			return err
		}
		var rows []contentRow[Noun]
		query := db.Table(c.table).Order("id")
		if page.Size > 0 {
			query = paged(query, page)
		}
		if err := query.Find(&rows).Error; err != nil {
			return err
		}
		for i := range rows {
			nouns = append(nouns, *c.read(&rows[i]))
		}
		return nil
	})
	return nouns, total, err
}
