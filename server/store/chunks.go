package store

import (
	"cmp"
	"iter"
	"maps"
	"slices"
)

// chunkLength is how many values go into one statement: well below the 32,766 variables of SQLite's limit for rows of a few columns.
const chunkLength = 1000

// chunks gives the keys of a set in rising order, in slices that fit a statement. Every transaction takes rows in that order, so
// that two of them wait for each other instead of meeting in a deadlock.
func chunks[Key cmp.Ordered](set map[Key]bool) iter.Seq[[]Key] {
	return slices.Chunk(slices.Sorted(maps.Keys(set)), chunkLength)
}
