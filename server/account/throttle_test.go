package account

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// clock is a time that tests move.
type clock struct{ now time.Time }

func (c *clock) read() time.Time { return c.now }

func newClock() *clock { return &clock{now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)} }

func failing(t *testing.T, throttle *throttle, username string, address netip.Addr, times int) (wait time.Duration) {
	t.Helper()
	for range times {
		if _, wait = throttle.begin(username, address); wait > 0 {
			return wait
		}
	}
	return 0
}

func newTestThrottle(t *testing.T) (*throttle, *clock) {
	t.Helper()
	clock := newClock()
	throttle, err := newThrottle(clock.read)
	if err != nil {
		t.Fatal(err)
	}
	return throttle, clock
}

func TestFailedLoginsWaitLongerAndLonger(t *testing.T) {
	throttle, clock := newTestThrottle(t)
	home := netip.MustParseAddr("192.0.2.1")
	if wait := failing(t, throttle, "root", home, freeFailuresPair); wait != 0 {
		t.Fatalf("the first %d attempts wait %s", freeFailuresPair, wait)
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900} {
		want *= time.Second
		_, wait := throttle.begin("root", home)
		if wait != want {
			t.Fatalf("wait is %s, want %s", wait, want)
		}
		clock.now = clock.now.Add(wait - time.Millisecond)
		if _, wait := throttle.begin("root", home); wait != time.Millisecond {
			t.Fatalf("a moment too early: wait is %s", wait)
		}
		clock.now = clock.now.Add(time.Millisecond)
		if _, wait := throttle.begin("root", home); wait != 0 {
			t.Fatalf("after waiting: wait is %s", wait)
		}
	}
	clock.now = clock.now.Add(forgetAfter + time.Second)
	if wait := failing(t, throttle, "root", home, freeFailuresPair); wait != 0 {
		t.Errorf("after an hour: wait is %s", wait)
	}
}

func TestThrottleTellsNamesAndAddressesApart(t *testing.T) {
	throttle, _ := newTestThrottle(t)
	home, office := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	failing(t, throttle, "root", home, freeFailuresPair)
	for _, test := range []struct {
		username string
		address  netip.Addr
		waits    bool
	}{
		{"root", home, true},
		{"ROOT", home, true}, // databases compare names without case
		{"root", netip.MustParseAddr("::ffff:192.0.2.1"), true},
		{"root", office, false},
		{"other", home, false},
	} {
		if _, wait := throttle.begin(test.username, test.address); (wait > 0) != test.waits {
			t.Errorf("%s at %s: wait is %s", test.username, test.address, wait)
		}
	}
}

func TestManyNamesFromOneAddressAreThrottled(t *testing.T) {
	for name, addresses := range map[string][2]string{
		"IPv4":    {"192.0.2.1", "192.0.2.1"},
		"IPv6/64": {"2001:db8::1", "2001:db8::ffff:2"},
	} {
		throttle, _ := newTestThrottle(t)
		for i := range freeFailuresAddress {
			if _, wait := throttle.begin(fmt.Sprint("user", i), netip.MustParseAddr(addresses[0])); wait > 0 {
				t.Fatalf("%s: attempt %d waits", name, i)
			}
		}
		if _, wait := throttle.begin("one more", netip.MustParseAddr(addresses[1])); wait == 0 {
			t.Errorf("%s: attempt %d does not wait", name, freeFailuresAddress)
		}
	}
}

func TestASuccessfulLoginIsForgiven(t *testing.T) {
	throttle, _ := newTestThrottle(t)
	home := netip.MustParseAddr("192.0.2.1")
	for range 10 * freeFailuresAddress {
		attempt, wait := throttle.begin("root", home)
		if wait > 0 {
			t.Fatalf("wait is %s", wait)
		}
		attempt.succeeded()
	}
	failing(t, throttle, "root", home, freeFailuresPair-1)
	attempt, _ := throttle.begin("root", home)
	attempt.succeeded()
	if wait := failing(t, throttle, "root", home, freeFailuresPair); wait != 0 {
		t.Errorf("failures before a success count: wait is %s", wait)
	}
}

func TestThrottleMemoryIsBounded(t *testing.T) {
	throttle, _ := newTestThrottle(t)
	for i := range 2 * rememberedFailures {
		throttle.begin("root", netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	if got := throttle.failures.Len(); got > rememberedFailures {
		t.Errorf("%d entries", got)
	}
}
