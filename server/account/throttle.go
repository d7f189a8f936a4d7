package account

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Limits of failed logins. A name at an address waits after 5 failures, an address as a whole after 30 (so that trying many
// names does not help): 1 s, then twice as long each time, at most 15 minutes.
const (
	freeFailuresPair    = 5
	freeFailuresAddress = 30
	longestWait         = 15 * time.Minute
	forgetAfter         = time.Hour
	// rememberedFailures bounds the memory: the least recently seen is forgotten first.
	rememberedFailures = 8192
)

// throttle counts failed logins in bounded memory.
type throttle struct {
	mutex    sync.Mutex
	failures *lru.Cache[string, failures]
	now      func() time.Time
}

type failures struct {
	count int
	last  time.Time
}

// attempt is a login under way. It counts as a failure until it succeeded, so many at once gain nothing.
type attempt struct {
	throttle      *throttle
	pair, address string
}

func newThrottle(now func() time.Time) (*throttle, error) {
	cache, err := lru.New[string, failures](rememberedFailures)
	return &throttle{failures: cache, now: now}, err
}

// begin counts the attempt, or tells how long to wait.
func (t *throttle) begin(username string, address netip.Addr) (attempt, time.Duration) {
	username = strings.ToLower(username[:min(len(username), 64)])
	network := throttledNetwork(address)
	this := attempt{throttle: t, pair: "pair " + network + " " + username, address: "address " + network}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	wait := max(t.wait(this.pair, freeFailuresPair), t.wait(this.address, freeFailuresAddress))
	if wait > 0 {
		return this, wait
	}
	t.count(this.pair)
	t.count(this.address)
	return this, 0
}

// throttledNetwork takes an IPv6 /64 as one address: that is what a single customer line has.
func throttledNetwork(address netip.Addr) string {
	address = address.Unmap()
	if address.Is6() {
		if network, err := address.WithZone("").Prefix(64); err == nil {
			return network.String()
		}
	}
	return address.String()
}

func (t *throttle) wait(key string, free int) time.Duration {
	known, found := t.failures.Peek(key)
	if !found || known.count < free || t.now().Sub(known.last) > forgetAfter {
		return 0
	}
	delay := longestWait
	if doublings := known.count - free; doublings < 10 {
		delay = min(longestWait, time.Second<<doublings)
	}
	return delay - t.now().Sub(known.last)
}

func (t *throttle) count(key string) {
	known, _ := t.failures.Get(key)
	if t.now().Sub(known.last) > forgetAfter {
		known.count = 0
	}
	t.failures.Add(key, failures{count: known.count + 1, last: t.now()})
}

// succeeded forgets the pair's failures and takes the address's own attempt back.
func (a attempt) succeeded() {
	t := a.throttle
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.failures.Remove(a.pair)
	if known, found := t.failures.Get(a.address); found {
		known.count--
		t.failures.Add(a.address, known)
	}
}
