package server

import (
	"context"
	"time"

	"gantry/server/api"
	"gantry/server/broker"
	"gantry/server/panel"
	"gantry/web"
)

const (
	// maxConsoleOrigins bounds the console proxies whose page the panel may embed.
	maxConsoleOrigins = 100
	// originPatience bounds how long the panel's first page waits for the list of them.
	originPatience = 2 * time.Second
)

// panel is the embedded web panel; nil when this binary has none, which says so in the log. The API works without it.
func (s *running) panel(adminPath string) api.Panel {
	files, err := web.Panel()
	if err == nil {
		var opened *panel.Panel
		if opened, err = panel.New(panel.Config{Files: files, AdminPath: adminPath, ConsoleURLs: s.consoleURLs}); err == nil {
			return opened
		}
	}
	s.log.Warn("there is no web panel", "error", err)
	return nil
}

// consoleURLs lists the console proxies in use. Without the store there are none, and consoles open in windows of their own.
func (s *running) consoleURLs(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, originPatience)
	defer cancel()
	nodes, _, err := s.store.ListConsoleNodes(ctx, broker.Page{Number: 1, Size: maxConsoleOrigins})
	if err != nil {
		s.log.Warn("list console proxies for the panel", "error", err)
	}
	var addresses []string
	for _, node := range nodes {
		if !node.Disabled {
			addresses = append(addresses, node.URL)
		}
	}
	return addresses
}
