package broker

import (
	"context"
	"strings"
	"unicode/utf8"
)

// maxAreaDepth bounds the tree of areas: country, province, city, building, room leave three.
const maxAreaDepth = 8

// AddArea stores a region. Exists when its parent has one of that name already.
func (b *Broker) AddArea(ctx context.Context, area *Area) error {
	if err := checkAreaName(area); err != nil {
		return err
	}
	return b.store.Transact(ctx, func(tx Tx) error {
		if err := checkAreaPlace(ctx, tx, area); err != nil {
			return err
		}
		return tx.InsertArea(ctx, area)
	})
}

// UpdateArea renames a region or hangs it, with all below it, under another parent. Invalid when that is the region itself or below
// it.
func (b *Broker) UpdateArea(ctx context.Context, area *Area) error {
	if err := checkAreaName(area); err != nil {
		return err
	}
	return b.store.Transact(ctx, func(tx Tx) error {
		// Its row is locked first: of two moves that together would close a ring, one waits and then sees the other.
		if _, err := tx.LockArea(ctx, area.ID); err != nil {
			return named("id", err)
		}
		if err := checkAreaPlace(ctx, tx, area); err != nil {
			return err
		}
		return tx.UpdateArea(ctx, area)
	})
}

func checkAreaName(area *Area) error {
	area.Name = strings.TrimSpace(area.Name)
	if length := utf8.RuneCountInString(area.Name); length < 1 || length > 60 {
		return InvalidField("name", "1 to 60 characters")
	}
	return nil
}

// checkAreaPlace walks from the parent to the top and locks each area on the way.
func checkAreaPlace(ctx context.Context, tx Tx, area *Area) error {
	depth := 1
	for parent := area.ParentID; parent != nil; depth++ {
		if area.ID != 0 && *parent == area.ID {
			return InvalidField("parent", "an area can't lie inside itself")
		}
		if depth >= maxAreaDepth {
			return InvalidField("parent", "areas can be nested %d levels deep at most", maxAreaDepth)
		}
		above, err := tx.LockArea(ctx, *parent)
		if err != nil {
			return named("parent", err)
		}
		parent = above.ParentID
	}
	return nil
}

// DeleteArea forgets a region. Conflict while it has areas or nodes.
func (b *Broker) DeleteArea(ctx context.Context, id int64) error {
	return named("id", b.store.DeleteArea(ctx, id))
}

// PlaceNode puts a node into a region, or out of any with nil.
func (b *Broker) PlaceNode(ctx context.Context, node int64, area *int64) error {
	return b.store.Transact(ctx, func(tx Tx) error {
		if err := lockAreaOf(ctx, tx, "area", area); err != nil {
			return err
		}
		known, err := tx.FindNode(ctx, node)
		if err != nil {
			return named("id", err)
		}
		known.AreaID = area
		return tx.UpdateNode(ctx, known)
	})
}

// lockAreaOf keeps the area that something is put into from being deleted meanwhile. Nil is no area.
func lockAreaOf(ctx context.Context, tx Tx, field string, area *int64) error {
	if area == nil {
		return nil
	}
	_, err := tx.LockArea(ctx, *area)
	return named(field, err)
}

// AreaDepth is 0 for an area at the top, 1 for its children and so on (AMS realm). areas holds whatever was read already; parents
// that it lacks are read and added.
func AreaDepth(ctx context.Context, store AreaStore, area Area, areas map[int64]Area) (int, error) {
	depth := 0
	for parent := area.ParentID; parent != nil && depth < maxAreaDepth; depth++ {
		above, known := areas[*parent]
		if !known {
			found, err := store.FindArea(ctx, *parent)
			if Is(err, NotFound) {
				return depth, nil
			}
			if err != nil {
				return 0, err
			}
			above = *found
			areas[above.ID] = above
		}
		parent = above.ParentID
	}
	return depth, nil
}
