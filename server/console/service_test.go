package console_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gantry/internal/consoleapi"
	"gantry/server/broker"
	"gantry/server/console"
	"gantry/server/console/consoletest"
)

func TestMemoryStore(t *testing.T) {
	consoletest.Run(t, func(*testing.T) console.TokenStore { return consoletest.NewMemoryStore() })
}

// bench is a service over an empty store with a clock and a hypervisor that the test turns.
type bench struct {
	*console.Service
	now   time.Time
	asked int
	fail  error
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	b.Service = console.New(console.Config{}, consoletest.NewMemoryStore(), b, func() time.Time { return b.now })
	return b
}

// ConsoleTarget gives a different ticket at each call, as PVE does.
func (b *bench) ConsoleTarget(context.Context, int64) (consoleapi.Target, error) {
	if b.fail != nil {
		return consoleapi.Target{}, b.fail
	}
	b.asked++
	return consoleapi.Target{Network: consoleapi.NetworkWebSocket, Address: fmt.Sprintf("wss://pve/?vncticket=%d", b.asked), VMLabel: "web-1"}, nil
}

// ConsoleStream says "screen" and closes.
func (b *bench) ConsoleStream(context.Context, int64) (net.Conn, error) {
	if b.fail != nil {
		return nil, b.fail
	}
	near, far := net.Pipe()
	go func() {
		_, _ = io.WriteString(far, "screen")
		_ = far.Close()
	}()
	return near, nil
}

func (b *bench) issue(t *testing.T, clientIP string) consoleapi.Token {
	t.Helper()
	request := console.IssueRequest{VMID: 7, ProxyURL: "https://console.example.com/", IssuedTo: "api:1"}
	if clientIP != "" {
		request.ClientIP = netip.MustParseAddr(clientIP)
	}
	link, err := b.Issue(t.Context(), request)
	if err != nil {
		t.Fatalf("Issue: %v", err)
	}
	text, found := strings.CutPrefix(link.URL, "https://console.example.com/console/#token=")
	if !found {
		t.Fatalf("link is %q", link.URL)
	}
	token, err := consoleapi.ParseToken(text)
	if err != nil {
		t.Fatalf("link carries no token: %q", link.URL)
	}
	return token
}

// redeem gives the reply and, for a refusal, its reason.
func (b *bench) redeem(t *testing.T, token consoleapi.Token, presented, fresh consoleapi.SessionKey) (consoleapi.RedeemReply, consoleapi.Reason) {
	t.Helper()
	reply, err := b.Redeem(t.Context(), consoleapi.RedeemRequest{Token: token, SessionKey: presented, FreshKey: fresh, ClientIP: "192.0.2.1"})
	var refusal *consoleapi.Refusal
	if errors.As(err, &refusal) {
		return reply, refusal.Reason
	}
	if err != nil {
		t.Fatalf("Redeem: %v", err)
	}
	return reply, ""
}

func TestLinkLife(t *testing.T) {
	mine, planted := consoleapi.NewSessionKey(), consoleapi.NewSessionKey()
	type step struct {
		name      string
		wait      time.Duration
		presented consoleapi.SessionKey
		fresh     consoleapi.SessionKey
		want      consoleapi.Reason
		wantBound bool
	}
	for _, row := range []struct {
		name     string
		clientIP string
		steps    []step
	}{
		{"reconnects belong to the browser that came first", "", []step{
			{"first use", 5 * time.Minute, "", mine, "", true},
			{"same browser again", time.Minute, mine, planted, "", false},
			{"somebody else with the link", 0, "", planted, consoleapi.ReasonLinkUsed, false},
			{"somebody else with a cookie of his own", 0, planted, planted, consoleapi.ReasonLinkUsed, false},
			{"same browser at the end", 2*time.Hour - time.Minute, mine, planted, consoleapi.ReasonSessionOver, false},
		}},
		{"an unopened link expires", "", []step{
			{"too late", 5*time.Minute + time.Second, "", mine, consoleapi.ReasonLinkExpired, false},
		}},
		{"a cookie that the browser brought along is not bound", "", []step{
			{"first use", 0, planted, mine, "", true},
			{"who planted the cookie", 0, planted, planted, consoleapi.ReasonLinkUsed, false},
		}},
		{"a link for one address", "192.0.2.1", []step{{"there", 0, "", mine, "", true}}},
		{"a link for another address", "192.0.2.2", []step{{"elsewhere", 0, "", mine, consoleapi.ReasonWrongAddress, false}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t)
			token := b.issue(t, row.clientIP)
			for _, step := range row.steps {
				b.now = b.now.Add(step.wait)
				reply, reason := b.redeem(t, token, step.presented, step.fresh)
				if reason != step.want || reply.Bound != step.wantBound {
					t.Errorf("%s: refused %q, bound %v; want %q, %v", step.name, reason, reply.Bound, step.want, step.wantBound)
				}
			}
		})
	}
}

func TestEachOpeningAsksForAFreshTarget(t *testing.T) {
	b := newBench(t)
	token, key := b.issue(t, ""), consoleapi.NewSessionKey()
	first, _ := b.redeem(t, token, "", key)
	b.now = b.now.Add(time.Hour)
	second, _ := b.redeem(t, token, key, consoleapi.NewSessionKey())
	if first.Target.Address == second.Target.Address {
		t.Error("the second opening got the first one's ticket")
	}
	if first.Target.SessionID == "" || first.Target.SessionID != second.Target.SessionID || first.Target.VMID != 7 {
		t.Errorf("targets are %v and %v", first.Target, second.Target)
	}
	if !first.Target.ClosesAt.Equal(second.Target.ClosesAt) {
		t.Error("a reconnect moved the end of the session")
	}
}

func TestFailedTargetLeavesTheLinkToItsBrowser(t *testing.T) {
	secretCause := errors.New("dial 10.0.0.5:8006 with PVEAPIToken=x")
	for _, row := range []struct {
		name       string
		fail       error
		want       consoleapi.Reason
		wantDetail string
	}{
		{"unreachable", broker.Errorf(broker.Unreachable, "pve1 did not answer"), consoleapi.ReasonUnreachable, ""},
		{"guest gone", broker.Errorf(broker.NotFound, "no such guest"), consoleapi.ReasonGuestGone, ""},
		{"guest off", broker.Because(broker.Conflict, broker.ReasonVMNotRunning, 7), consoleapi.ReasonGuestOff, ""},
		{"guest off by driver", consoleapi.Refuse(consoleapi.ReasonGuestOff), consoleapi.ReasonGuestOff, ""},
		{"busy", broker.Errorf(broker.Conflict, "reinstalling"), consoleapi.ReasonGuestBusy, ""},
		{"credential", broker.Errorf(broker.HypervisorAuth, "401"), consoleapi.ReasonTargetRefused, ""},
		{"failed", broker.Errorf(broker.Failed, "no\nport"), consoleapi.ReasonTargetFailed, "no port"},
		{"defect", &broker.Error{Kind: broker.Internal, Err: secretCause}, consoleapi.ReasonInternal, ""},
		{"foreign error", secretCause, consoleapi.ReasonInternal, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t)
			token, key := b.issue(t, ""), consoleapi.NewSessionKey()
			b.fail = row.fail
			_, err := b.Redeem(t.Context(), consoleapi.RedeemRequest{Token: token, FreshKey: key})
			var refusal *consoleapi.Refusal
			if !errors.As(err, &refusal) || refusal.Reason != row.want || refusal.Detail != row.wantDetail || !refusal.Bound {
				t.Fatalf("Redeem: %#v, want reason %q, detail %q, bound", refusal, row.want, row.wantDetail)
			}
			b.fail = nil
			if _, reason := b.redeem(t, token, key, consoleapi.NewSessionKey()); reason != "" {
				t.Errorf("the same browser's next try: refused %q", reason)
			}
			if _, reason := b.redeem(t, token, "", consoleapi.NewSessionKey()); reason != consoleapi.ReasonLinkUsed {
				t.Errorf("another browser's try: %q, want %q", reason, consoleapi.ReasonLinkUsed)
			}
		})
	}
}

func TestCheckAndRevoke(t *testing.T) {
	b := newBench(t)
	token := b.issue(t, "")
	reply, _ := b.redeem(t, token, "", consoleapi.NewSessionKey())
	session := reply.Target.SessionID
	check := func() string {
		t.Helper()
		ended, err := b.Check(t.Context(), []string{session, "unknown"})
		if err != nil {
			t.Fatalf("Check: %v", err)
		}
		return fmt.Sprint(ended)
	}
	if got, want := check(), "[{unknown session_over}]"; got != want {
		t.Errorf("open session: %s, want %s", got, want)
	}
	b.now = b.now.Add(console.DefaultMaxSession)
	if got, want := check(), "[{"+session+" session_over} {unknown session_over}]"; got != want {
		t.Errorf("after its time: %s, want %s", got, want)
	}
	if count, err := b.RevokeVM(t.Context(), 7); err != nil || count != 1 {
		t.Errorf("RevokeVM: %d, %v", count, err)
	}
	if got, want := check(), "[{"+session+" ended_by_admin} {unknown session_over}]"; got != want {
		t.Errorf("revoked: %s, want %s", got, want)
	}
	if _, reason := b.redeem(t, b.issue(t, ""), "", consoleapi.NewSessionKey()); reason != "" {
		t.Errorf("a link issued after the revocation: refused %q", reason)
	}
}

func TestExpiredLinksAreForgottenADayLater(t *testing.T) {
	b := newBench(t)
	token := b.issue(t, "")
	for _, row := range []struct {
		after       time.Duration
		wantDeleted int
		wantReason  consoleapi.Reason
	}{
		{time.Hour, 0, consoleapi.ReasonLinkExpired},
		{25 * time.Hour, 1, consoleapi.ReasonLinkInvalid},
	} {
		b.now = b.now.Add(row.after)
		deleted, err := b.DeleteExpired(t.Context())
		if err != nil || deleted != row.wantDeleted {
			t.Errorf("after %v: deleted %d, %v, want %d", row.after, deleted, err, row.wantDeleted)
		}
		if _, reason := b.redeem(t, token, "", consoleapi.NewSessionKey()); reason != row.wantReason {
			t.Errorf("after %v: refused %q, want %q", row.after, reason, row.wantReason)
		}
	}
}

func TestIssueNamesTheBadField(t *testing.T) {
	b := newBench(t)
	for field, request := range map[string]console.IssueRequest{
		"vmID":     {ProxyURL: "https://console.example.com"},
		"proxyURL": {VMID: 1, ProxyURL: "javascript:alert(1)"},
		"issuedTo": {VMID: 1, ProxyURL: "https://console.example.com", IssuedTo: strings.Repeat("x", 101)},
	} {
		_, err := b.Issue(t.Context(), request)
		var failure *broker.Error
		if !errors.As(err, &failure) || failure.Kind != broker.Invalid || failure.Field != field {
			t.Errorf("Issue(%+v): %v, want invalid %s", request, err, field)
		}
	}
}

// A screen that only the broker reaches is opened for the browser that the link belongs to, while its session lasts.
func TestStreamsAreOfRedeemedLinks(t *testing.T) {
	b := newBench(t)
	token, key := b.issue(t, "192.0.2.1"), consoleapi.NewSessionKey()
	stream := func(token consoleapi.Token, key consoleapi.SessionKey) (string, consoleapi.Reason) {
		t.Helper()
		opened, err := b.Stream(t.Context(), consoleapi.StreamRequest{Token: token, SessionKey: key})
		var refusal *consoleapi.Refusal
		if errors.As(err, &refusal) {
			return "", refusal.Reason
		}
		if err != nil {
			t.Fatal(err)
		}
		defer opened.Close()
		text, err := io.ReadAll(opened)
		if err != nil || !opened.ClosesAt.Equal(b.now.Add(2*time.Hour)) || opened.SessionID == "" {
			t.Errorf("stream %q until %v: %v", opened.SessionID, opened.ClosesAt, err)
		}
		return string(text), ""
	}
	if _, reason := stream(token, key); reason != consoleapi.ReasonLinkInvalid {
		t.Errorf("before it was redeemed: %q", reason)
	}
	b.redeem(t, token, "", key)
	if text, reason := stream(token, key); text != "screen" || reason != "" {
		t.Errorf("of its browser: %q %q", text, reason)
	}
	if _, reason := stream(token, consoleapi.NewSessionKey()); reason != consoleapi.ReasonLinkUsed {
		t.Errorf("of another browser: %q", reason)
	}
	if _, reason := stream(consoleapi.NewToken(), key); reason != consoleapi.ReasonLinkInvalid {
		t.Errorf("of no link: %q", reason)
	}
	b.fail = broker.Errorf(broker.Unreachable, "down")
	if _, reason := stream(token, key); reason != consoleapi.ReasonUnreachable {
		t.Errorf("of a host that is down: %q", reason)
	}
	b.fail = nil
	if _, err := b.RevokeVM(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	if _, reason := stream(token, key); reason != consoleapi.ReasonEndedByAdmin {
		t.Errorf("revoked: %q", reason)
	}
}
