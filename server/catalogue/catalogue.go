// Package catalogue lists images that operators can take over: the official cloud images of the distributions as shipped, or what
// a URL of the operator's choice serves in the same form.
package catalogue

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"gantry/server/broker"
)

// shipped holds the official images: addresses that lead to the newest build of a release, each with the checksum file that its publisher
// keeps beside it.
//
//go:embed images.json
var shipped []byte

const (
	// fetchTimeout leaves a call that waits for the list time to answer with the shipped one.
	fetchTimeout = 5 * time.Second
	// freshFor is how long a fetched list, and failureFor how long a failed fetch, is not asked for again.
	freshFor   = 10 * time.Minute
	failureFor = time.Minute
	maxBytes   = 1 << 20
	maxEntries = 2000
)

// entry is the form of an image in a list.
type entry struct {
	FileName  string `json:"fileName"`
	Name      string `json:"name"`
	Type      string `json:"type"`
	Arch      string `json:"arch"`
	OSType    string `json:"osType"`
	URL       string `json:"url"`
	Checksum  string `json:"checksum"`
	CloudInit bool   `json:"cloudInit"`
}

// Source gives the list. It is safe for concurrent use.
type Source struct {
	url     string
	client  *http.Client
	now     func() time.Time
	log     *slog.Logger
	builtIn []broker.Image

	mutex   sync.Mutex
	fetched []broker.Image
	again   time.Time
}

// New makes a Source. With url "" the shipped list is all there is.
func New(url string, now func() time.Time, log *slog.Logger) (*Source, error) {
	builtIn, refused, err := parse(shipped)
	if err == nil && len(refused) > 0 {
		err = refused[0]
	}
	if err != nil {
		return nil, fmt.Errorf("shipped list of images: %w", err)
	}
	return &Source{url: url, client: &http.Client{Timeout: fetchTimeout}, now: now, log: log, builtIn: builtIn}, nil
}

// Images lists what can be taken over. When the URL can't be read, the last list that could be stands, else the shipped one.
func (s *Source) Images(ctx context.Context) []broker.Image {
	if s.url == "" {
		return s.builtIn
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.now().Before(s.again) {
		return s.known()
	}
	images, err := s.fetch(ctx)
	if err != nil {
		s.log.Warn("read the list of images", "error", err)
		s.again = s.now().Add(failureFor)
		return s.known()
	}
	s.fetched, s.again = images, s.now().Add(freshFor)
	return s.fetched
}

func (s *Source) known() []broker.Image {
	if s.fetched != nil {
		return s.fetched
	}
	return s.builtIn
}

func (s *Source) fetch(ctx context.Context) ([]broker.Image, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP status %d", response.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxBytes {
		return nil, fmt.Errorf("it has more than %d bytes", maxBytes)
	}
	images, refused, err := parse(text)
	for _, each := range refused {
		s.log.Warn("left out of the list of images", "error", each)
	}
	return images, err
}

// parse reads a list; entries that could not be added as images are left out and told in refused.
func parse(text []byte) (images []broker.Image, refused []error, err error) {
	var entries []entry
	if err := json.Unmarshal(text, &entries); err != nil {
		return nil, nil, err
	}
	if len(entries) == 0 || len(entries) > maxEntries {
		return nil, nil, fmt.Errorf("it has %d entries, wanted are 1 to %d", len(entries), maxEntries)
	}
	seen := map[string]bool{}
	for i, each := range entries {
		image := broker.Image{
			Name: each.Name, FileName: each.FileName, Family: each.Type, Distribution: each.OSType, Arch: each.Arch,
			Source: broker.ImageFromURL, URL: each.URL, Checksum: each.Checksum, CloudInit: each.CloudInit,
		}
		if err := broker.CheckImage(&image); err != nil {
			refused = append(refused, fmt.Errorf("entry %d: %s", i+1, broker.DetailOf(err)))
			continue
		}
		if seen[image.FileName] {
			refused = append(refused, fmt.Errorf("entry %d: file name %s is listed twice", i+1, image.FileName))
			continue
		}
		seen[image.FileName] = true
		images = append(images, image)
	}
	return images, refused, nil
}
