// Reference prints docs/api.md: go run ./docs/reference >docs/api.md
package main

import (
	"fmt"
	"os"

	"gantry/server/api/reference"
)

func main() {
	page, err := reference.Markdown(reference.Routes())
	if err == nil {
		_, err = os.Stdout.Write(page)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "describe the API:", err)
		os.Exit(1)
	}
}
