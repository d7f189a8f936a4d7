#!/bin/sh
# Runs every fuzz target of the module for a moment: scripts/fuzz.sh [TIME], TIME as in go test -fuzztime (default 3s).
# New inputs that fail are written to the package's testdata/fuzz, as `go test` says.
set -eu
time=${1:-3s}
cd "$(dirname "$0")/.."

# go list knows which files are tests of this module; folders of other modules and node_modules are none.
go list -f '{{$dir := .Dir}}{{range .TestGoFiles}}{{$dir}}/{{.}}
{{end}}{{range .XTestGoFiles}}{{$dir}}/{{.}}
{{end}}' ./... | sed '/^$/d' | sort | while read -r file; do
	sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file" | while read -r target; do
		package=./$(realpath --relative-to=. "$(dirname "$file")")
		echo "fuzz $package $target $time"
		# The whole output is shown for a failure only; a passing run ends in one line.
		if ! out=$(go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -parallel 2 "$package" 2>&1 </dev/null); then
			echo "$out"
			exit 1
		fi
	done || exit 1
done
