package store

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestObservationPlan holds SQLite to one look by primary key for each VM: with any other plan a poll of a thousand machines keeps
// all orders waiting for seconds.
func TestObservationPlan(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gantry.db")
	engine, _, err := openSQLite(t.Context(), path, &statementCount{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := engine.close(); err != nil {
			t.Error(err)
		}
	}()
	for _, statement := range []string{sawJSON, changedJSON} {
		rows, err := engine.writers.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+statement, "[]", 1)
		if err != nil {
			t.Fatal(err)
		}
		var plan []string
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, detail)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		if len(plan) != 2 || !strings.HasPrefix(plan[0], "SCAN json_each") || plan[1] != "SEARCH vms USING INTEGER PRIMARY KEY (rowid=?)" {
			t.Errorf("plan %q for %s", plan, statement)
		}
	}
}
