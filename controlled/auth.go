package controlled

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/time/rate"

	wire "gantry/internal/controlledclient"
)

const (
	failureBurst    = 10              // wrong secrets that one address may send at once
	failureInterval = 6 * time.Second // then one every so often
	maxTrackedPeers = 4096            // addresses remembered; more are forgotten together
)

// requireSecret lets only requests with the node's secret through, as "Authorization: <secret>" (documented) or
// "Authorization: Bearer <secret>". An address that keeps failing gets 429. The right secret is always taken: 256 bits cannot be
// guessed, and the server must not be locked out by somebody behind the same address.
func requireSecret(secret string) gin.HandlerFunc {
	want := sha256.Sum256([]byte(secret))
	failures := failureLimiter{peers: map[string]*rate.Limiter{}}
	return func(c *gin.Context) {
		given := strings.TrimPrefix(c.GetHeader("Authorization"), "Bearer ")
		// Hashing first makes the comparison independent of the given length.
		got := sha256.Sum256([]byte(given))
		if subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
			c.Next()
			return
		}
		if !failures.allow(c.RemoteIP(), time.Now()) {
			c.Header("Retry-After", "6")
			answer(c, http.StatusTooManyRequests, wire.CodeUnauthorized, "Authentication failed too often, try again later!", struct{}{})
			return
		}
		answer(c, http.StatusUnauthorized, wire.CodeUnauthorized, "Authentication failed!", struct{}{})
	}
}

// failureLimiter is a token bucket an address.
type failureLimiter struct {
	mu    sync.Mutex
	peers map[string]*rate.Limiter
}

func (f *failureLimiter) allow(peer string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	limiter := f.peers[peer]
	if limiter == nil {
		if len(f.peers) >= maxTrackedPeers {
			clear(f.peers)
		}
		limiter = rate.NewLimiter(rate.Every(failureInterval), failureBurst)
		f.peers[peer] = limiter
	}
	return limiter.AllowN(now, 1)
}
