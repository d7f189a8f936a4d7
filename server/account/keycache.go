package account

import (
	"context"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"gantry/server/broker"
)

const (
	// keyCacheTTL is how long a replica may still take a key that another one disabled.
	keyCacheTTL = 3 * time.Second
	cachedKeys  = 1024
)

// keyCache saves one query a call. Only keys that exist are kept, so guessing can't push them out.
type keyCache struct {
	mutex sync.Mutex
	known *lru.Cache[string, cachedKey]
	// forgotten counts the calls of forget: what was read before one may not be kept after it.
	forgotten uint64
	now       func() time.Time
}

type cachedKey struct {
	key  broker.APIKey
	read time.Time
}

func newKeyCache(now func() time.Time) (*keyCache, error) {
	cache, err := lru.New[string, cachedKey](cachedKeys)
	return &keyCache{known: cache, now: now}, err
}

func (c *keyCache) find(ctx context.Context, appID string, read func(context.Context, string) (*broker.APIKey, error)) (*broker.APIKey, error) {
	c.mutex.Lock()
	cached, found := c.known.Get(appID)
	generation, now := c.forgotten, c.now()
	c.mutex.Unlock()
	if found && now.Sub(cached.read) < keyCacheTTL {
		return &cached.key, nil
	}
	key, err := read(ctx, appID)
	if err != nil {
		return nil, err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.forgotten == generation {
		c.known.Add(appID, cachedKey{key: *key, read: now})
	}
	return key, nil
}

func (c *keyCache) forget(appID string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.forgotten++
	c.known.Remove(appID)
}
