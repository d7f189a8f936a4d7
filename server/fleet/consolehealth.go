package fleet

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"gantry/internal/tlspin"
	"gantry/server/broker"
)

const (
	// consoleCheckTimeout bounds one look at a console proxy.
	consoleCheckTimeout = 5 * time.Second
	maxConsoleNodes     = 1000
	consoleChecksAtOnce = 8
)

// watchConsoleNodes looks at every registered console proxy once an interval until ctx ends.
func (f *Fleet) watchConsoleNodes(ctx context.Context) {
	for {
		if err := f.CheckConsoleNodes(ctx); err != nil && ctx.Err() == nil {
			f.log.Error("look at console proxies", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(f.pollInterval):
		}
	}
}

// CheckConsoleNodes looks at every console proxy that is not disabled and stores which of them answer.
func (f *Fleet) CheckConsoleNodes(ctx context.Context) error {
	nodes, _, err := f.store.ListConsoleNodes(ctx, broker.Page{Number: 1, Size: maxConsoleNodes})
	if err != nil {
		return err
	}
	places := make(chan struct{}, consoleChecksAtOnce)
	failures := make([]error, len(nodes))
	var running sync.WaitGroup
	for i := range nodes {
		if nodes[i].Disabled {
			continue
		}
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			failures[i] = f.checkConsoleNode(ctx, &nodes[i])
		})
	}
	running.Wait()
	for _, err := range failures {
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *Fleet) checkConsoleNode(ctx context.Context, node *broker.ConsoleNode) error {
	cause := askConsoleNode(ctx, node)
	if ctx.Err() != nil {
		return nil // the program stops: nothing was learnt
	}
	healthy, text := cause == nil, ""
	if cause != nil {
		text = cause.Error()
	}
	now := f.now().UTC()
	// Like the nodes of clusters: written when it changes, and once a minute.
	if node.Healthy != nil && *node.Healthy == healthy && node.LastError == text && node.CheckedAt != nil && now.Sub(*node.CheckedAt) < time.Minute {
		return nil
	}
	if cause != nil {
		f.log.Warn("console proxy does not answer", "name", node.Name, "error", cause)
	}
	err := f.store.SaveConsoleHealth(ctx, node.ID, healthy, text, now)
	if broker.Is(err, broker.NotFound) {
		return nil // removed meanwhile
	}
	return err
}

// askConsoleNode calls the proxy's /healthz. Browsers judge its certificate for themselves; whether it runs is no secret, so here
// any certificate will do.
func askConsoleNode(ctx context.Context, node *broker.ConsoleNode) error {
	ctx, cancel := context.WithTimeout(ctx, consoleCheckTimeout)
	defer cancel()
	base, err := url.Parse(node.URL)
	if err != nil {
		return fmt.Errorf("its URL can't be read")
	}
	host, port := node.HostPort()
	address := url.URL{Scheme: base.Scheme, Host: net.JoinHostPort(host, strconv.Itoa(port)), Path: "/healthz"}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return fmt.Errorf("its URL can't be read")
	}
	config := tlspin.FirstUse(func(tlspin.Pin) error { return nil })
	config.ServerName = host
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("no answer from %s", address.Host)
	}
	_ = response.Body.Close() // its status says all
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers with HTTP status %d", address.Host, response.StatusCode)
	}
	return nil
}
