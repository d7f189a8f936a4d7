package ams

import (
	"context"

	"gantry/server/broker"
)

// Area is a region as getArea shows it.
type Area struct {
	ID     int64  `json:"id"`
	Name   string `json:"name"`
	Parent int64  `json:"parent" doc:"0 = at the top"`
	Realm  int    `json:"realm" doc:"level: 0 at the top, 1 below that, and so on"`
}

// Area makes the object; its level is counted along its parents.
func (r *Reader) Area(ctx context.Context, area broker.Area) (Area, error) {
	r.areas[area.ID] = area
	depth, err := broker.AreaDepth(ctx, r.store, area, r.areas)
	record := Area{ID: area.ID, Name: area.Name, Realm: depth}
	if area.ParentID != nil {
		record.Parent = *area.ParentID
	}
	return record, err
}

// Areas reads a page of regions: the children of a parent, of the top with 0, or all with nil.
func (r *Reader) Areas(ctx context.Context, parent *int64, page broker.Page) (List[Area], error) {
	areas, total, err := r.store.ListAreas(ctx, parent, page)
	if err != nil {
		return List[Area]{}, broker.Wrap(err, "list areas")
	}
	records := make([]Area, len(areas))
	for i := range areas {
		if records[i], err = r.Area(ctx, areas[i]); err != nil {
			return List[Area]{}, err
		}
	}
	return ListOf(records, total, page, func(record *Area) Area { return *record }), nil
}

// AreaName gives the name of a node's region; nil where it has none.
func (r *Reader) AreaName(ctx context.Context, id *int64) (*string, error) {
	if id == nil {
		return nil, nil
	}
	area, known := r.areas[*id]
	if !known {
		found, err := r.store.FindArea(ctx, *id)
		if broker.Is(err, broker.NotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, broker.Wrap(err, "find area")
		}
		area = *found
		r.areas[area.ID] = area
	}
	return &area.Name, nil
}
