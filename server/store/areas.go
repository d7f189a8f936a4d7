package store

import (
	"context"
	"fmt"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"gantry/server/broker"
)

type areaRow struct {
	ID       int64
	Name     string
	ParentID int64
}

func (areaRow) TableName() string { return "areas" }

func newAreaRow(area *broker.Area) *areaRow {
	row := &areaRow{ID: area.ID, Name: area.Name}
	if area.ParentID != nil {
		row.ParentID = *area.ParentID
	}
	return row
}

func (r *areaRow) noun() broker.Area {
	area := broker.Area{ID: r.ID, Name: r.Name}
	if r.ParentID != 0 {
		area.ParentID = &r.ParentID
	}
	return area
}

func (s *session) areaTaken(err error, area *broker.Area) error {
	if err == nil || !s.engine.duplicate(err) {
		return err
	}
	failure := broker.Because(broker.Exists, broker.ReasonAreaTaken, area.Name)
	failure.Field, failure.Err = "name", err
	return failure
}

func (s *session) InsertArea(ctx context.Context, area *broker.Area) error {
	return s.write(ctx, "add area", func(db *gorm.DB) error {
		row := newAreaRow(area)
		row.ID = 0
		if err := db.Create(row).Error; err != nil {
			return s.areaTaken(err, area)
		}
		area.ID = row.ID
		return nil
	})
}

func (s *session) UpdateArea(ctx context.Context, area *broker.Area) error {
	return s.write(ctx, "change area", func(db *gorm.DB) error {
		result := db.Select("*").Omit("id").Updates(newAreaRow(area))
		return s.areaTaken(areaChanged(result, area.ID), area)
	})
}

func (s *session) DeleteArea(ctx context.Context, id int64) error {
	return s.write(ctx, "remove area", func(db *gorm.DB) error {
		// Whoever puts something into the area holds this lock, too.
		if _, err := findArea(db.Clauses(clause.Locking{Strength: "UPDATE"}), id); err != nil {
			return err
		}
		var children, nodes int64
		if err := db.Model(&areaRow{}).Where("parent_id = ?", id).Count(&children).Error; err != nil {
			return err
		}
		if err := db.Model(&nodeRow{}).Where("area_id = ?", id).Count(&nodes).Error; err != nil {
			return err
		}
		if children > 0 || nodes > 0 {
			return broker.Because(broker.Conflict, broker.ReasonAreaInUse, id, children, nodes)
		}
		return areaChanged(db.Delete(&areaRow{}, id), id)
	})
}

func areaChanged(result *gorm.DB, id int64) error {
	err := changed(result, "area", id)
	if broker.Is(err, broker.NotFound) {
		return broker.Because(broker.NotFound, broker.ReasonAreaNotFound, id)
	}
	return err
}

func findArea(db *gorm.DB, id int64) (*broker.Area, error) {
	var row areaRow
	result := db.Where("id = ?", id).Limit(1).Find(&row)
	if result.Error != nil {
		return nil, result.Error
	}
	if result.RowsAffected == 0 {
		return nil, broker.Because(broker.NotFound, broker.ReasonAreaNotFound, fmt.Sprint(id))
	}
	area := row.noun()
	return &area, nil
}

func (s *session) FindArea(ctx context.Context, id int64) (found *broker.Area, err error) {
	err = s.read(ctx, "find area", func(db *gorm.DB) error {
		found, err = findArea(db, id)
		return err
	})
	return found, err
}

func (s *session) LockArea(ctx context.Context, id int64) (found *broker.Area, err error) {
	err = s.write(ctx, "lock area", func(db *gorm.DB) error {
		found, err = findArea(db.Clauses(clause.Locking{Strength: "UPDATE"}), id)
		return err
	})
	return found, err
}

func (s *session) ListAreas(ctx context.Context, parent *int64, page broker.Page) (areas []broker.Area, total int64, err error) {
	err = s.read(ctx, "list areas", func(db *gorm.DB) error {
		query := db.Model(&areaRow{})
		if parent != nil {
			query = query.Where("parent_id = ?", *parent)
		}
		query = query.Session(&gorm.Session{})
		if err := query.Count(&total).Error; err != nil || total == 0 {
			return err
		}
		var rows []areaRow
		err := paged(query.Order("id"), page).Find(&rows).Error
		areas = nouns(rows, (*areaRow).noun)
		return err
	})
	return areas, total, err
}

func (s *session) ListAreaNodes(ctx context.Context, area int64, page broker.Page) ([]broker.Node, int64, error) {
	return s.nodesWhere(ctx, page, "area_id = ?", area)
}

func (s *session) ListKindNodes(ctx context.Context, kind string, page broker.Page) ([]broker.Node, int64, error) {
	return s.nodesWhere(ctx, page, "cluster_id IN (SELECT id FROM clusters WHERE kind = ?)", kind)
}

func (s *session) nodesWhere(ctx context.Context, page broker.Page, where string, key any) (nodes []broker.Node, total int64, err error) {
	err = s.read(ctx, "list nodes", func(db *gorm.DB) error {
		query := db.Model(&nodeRow{}).Where(where, key).Session(&gorm.Session{})
		if err := query.Count(&total).Error; err != nil || total == 0 {
			return err
		}
		var rows []nodeRow
		if err := paged(query.Order("id"), page).Find(&rows).Error; err != nil {
			return err
		}
		nodes, err = s.nodes(rows)
		return err
	})
	return nodes, total, err
}
