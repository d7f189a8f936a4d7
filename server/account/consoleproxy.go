package account

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"sync"
	"time"

	"gantry/server/broker"
)

const (
	// consoleCacheTTL is how long a proxy that was disabled may still redeem.
	consoleCacheTTL = 3 * time.Second
	// maxConsoleNodes bounds the list that is compared with.
	maxConsoleNodes = 1000
)

// NewConsoleSecret makes a console proxy's secret (130 random bits) and the hash that ConsoleNode.Secret keeps.
func NewConsoleSecret() (secret, hash string) {
	secret = rand.Text()
	return secret, hashSecret(secret)
}

// HashConsoleSecret gives what ConsoleNode.Secret keeps of a secret that the operator chose.
func HashConsoleSecret(secret string) string { return hashSecret(secret) }

// AuthenticateProxy names the registered, enabled console proxy that a secret belongs to. It is a consoleapi.Authenticate.
func (s *Service) AuthenticateProxy(ctx context.Context, secret string) (proxy string, accepted bool, err error) {
	if secret == "" {
		return "", false, nil
	}
	nodes, err := s.consoles.list(ctx, s.store.ListConsoleNodes)
	if err != nil {
		return "", false, err
	}
	hash := []byte(hashSecret(secret))
	for _, node := range nodes {
		if subtle.ConstantTimeCompare(hash, []byte(node.Secret)) == 1 && !node.Disabled {
			proxy, accepted = node.Name, true
		}
	}
	return proxy, accepted, nil
}

// consoleCache saves the query: proxies ask for each browser and poll besides.
type consoleCache struct {
	mutex sync.Mutex
	nodes []broker.ConsoleNode
	read  time.Time
	now   func() time.Time
}

func newConsoleCache(now func() time.Time) *consoleCache { return &consoleCache{now: now} }

func (c *consoleCache) list(ctx context.Context, read func(context.Context, broker.Page) ([]broker.ConsoleNode, int64, error)) ([]broker.ConsoleNode, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	now := c.now()
	if !c.read.IsZero() && now.Sub(c.read) < consoleCacheTTL {
		return c.nodes, nil
	}
	nodes, _, err := read(ctx, broker.Page{Number: 1, Size: maxConsoleNodes})
	if err != nil {
		return nil, broker.Wrap(err, "list console proxies")
	}
	c.nodes, c.read = nodes, now
	return nodes, nil
}
