// Package sql holds the database schema as versioned goose migrations, one folder a dialect. A released file never changes:
// what comes later is a new file in both folders.
package sql

import "embed"

// Files holds sqlite/*.sql and mysql/*.sql; MariaDB takes the latter, too.
//
//go:embed sqlite/*.sql mysql/*.sql
var Files embed.FS
