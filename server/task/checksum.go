package task

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"gantry/server/broker"
)

const (
	checksumTimeout = 15 * time.Second
	maxChecksums    = 4 << 20 // Debian's file for one build has some 10 KiB
)

// The two forms of checksum files: of sha256sum(1), "HEX  NAME" or "HEX *NAME", and of BSD's tools, "SHA256 (NAME) = HEX".
var (
	sumLine = regexp.MustCompile(`^([0-9a-fA-F]{64}|[0-9a-fA-F]{128})[ \t]+\*?(.+)$`)
	bsdLine = regexp.MustCompile(`^SHA(?:256|512) \((.+)\) = ([0-9a-fA-F]{64}|[0-9a-fA-F]{128})$`)
)

// checksum is what a node has to find for an image: as it was registered, or as the publisher's checksum file says now, where one was
// named. An address that always leads to the newest build has no other.
func (w *Workflows) checksum(ctx context.Context, image *broker.Image) (string, error) {
	if !broker.ChecksumIsFile(image.Checksum) {
		return image.Checksum, nil
	}
	ctx, cancel := context.WithTimeout(ctx, checksumTimeout)
	defer cancel()
	text, err := fetchText(ctx, image.Checksum)
	if err != nil {
		return "", &broker.Error{Kind: broker.Unreachable, Field: "checksum", Detail: fmt.Sprintf("the checksum file of %s can't be read: %v", image.FileName, err), Err: err}
	}
	address, err := url.Parse(image.URL)
	if err != nil {
		return "", broker.InvalidField("url", "is not an address")
	}
	sum, found := findSum(text, path.Base(address.Path))
	if !found {
		return "", &broker.Error{Kind: broker.Failed, Field: "checksum", Detail: fmt.Sprintf("the checksum file has no line for %s", path.Base(address.Path))}
	}
	return sum, nil
}

func fetchText(ctx context.Context, address string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the server answers %d %s", reply.StatusCode, http.StatusText(reply.StatusCode))
	}
	text, err := io.ReadAll(io.LimitReader(reply.Body, maxChecksums+1))
	if err == nil && len(text) > maxChecksums {
		err = fmt.Errorf("it has more than %d bytes", maxChecksums)
	}
	return string(text), err
}

// findSum looks a file's line up and gives the sum as nodes take it. Which algorithm it is shows in its length.
func findSum(text, name string) (string, bool) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		sum, file := "", ""
		if match := sumLine.FindStringSubmatch(line); match != nil {
			sum, file = match[1], match[2]
		} else if match := bsdLine.FindStringSubmatch(line); match != nil {
			sum, file = match[2], match[1]
		}
		if sum == "" || path.Base(file) != name {
			continue
		}
		algorithm := map[int]string{64: "sha256:", 128: "sha512:"}[len(sum)]
		return algorithm + strings.ToLower(sum), true
	}
	return "", false
}
