package pve

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"gantry/server/broker"
)

// ticketServer is PVE's login: tickets are numbered, and those below the oldest that counts are refused.
type ticketServer struct {
	mu       sync.Mutex
	logins   []string // the passwords that were sent
	oldest   int
	renewing bool // whether a ticket does as a password
	posts    int
}

func (s *ticketServer) answer(request *http.Request) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.HasSuffix(request.URL.Path, "/access/ticket") {
		body, _ := io.ReadAll(request.Body)
		form, err := url.ParseQuery(string(body))
		if err != nil || form.Get("username") != "admin@pve" {
			return reply("400 Parameter verification failed.", `{"errors":{"username":"?"}}`)
		}
		password := form.Get("password")
		s.logins = append(s.logins, password)
		if password != "secret" && (!s.renewing || !strings.HasPrefix(password, "PVE:admin@pve:")) {
			return reply("401 authentication failure", `{"data":null,"message":"authentication failure\n"}`)
		}
		return data(fmt.Sprintf(`{"ticket":"PVE:admin@pve:%d::a+b/c=","CSRFPreventionToken":"csrf-%d","username":"admin@pve"}`, len(s.logins), len(s.logins)))
	}
	cookie, err := request.Cookie("PVEAuthCookie")
	if err != nil {
		return reply("401 No ticket", "")
	}
	ticket, err := url.QueryUnescape(cookie.Value)
	var number int
	if _, scanErr := fmt.Sscanf(ticket, "PVE:admin@pve:%d::a+b/c=", &number); err != nil || scanErr != nil || number < s.oldest {
		return reply("401 permission denied - invalid PVE ticket", "")
	}
	if request.Method != "GET" {
		if request.Header.Get("CSRFPreventionToken") != fmt.Sprintf("csrf-%d", number) {
			return reply("401 Permission denied - invalid csrf token", "")
		}
		s.posts++
		return data(quoted("qmcreate"))
	}
	return data("[]")
}

func (s *ticketServer) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oldest = len(s.logins) + 1
}

func (s *ticketServer) passwords() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.logins...)
}

func TestManyAtOnceLogInOnce(t *testing.T) {
	tickets := &ticketServer{}
	d := serve(t, tickets.answer).byPassword(t)
	all := func() {
		var wait sync.WaitGroup
		for range 32 {
			wait.Go(func() {
				if _, err := d.Inventory(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
	}
	all()
	if got := tickets.passwords(); len(got) != 1 {
		t.Errorf("%d logins for 32 requests", len(got))
	}
	tickets.expire()
	all()
	if got := tickets.passwords(); len(got) != 2 {
		t.Errorf("%d logins after the ticket was voided", len(got))
	}
}

func TestRefusedPostIsSentAgainOnceAfterLogin(t *testing.T) {
	tickets := &ticketServer{}
	s := serve(t, tickets.answer)
	d := s.byPassword(t)
	if _, err := d.Inventory(t.Context()); err != nil {
		t.Fatal(err)
	}
	tickets.expire()
	before := len(s.seen())
	if _, err := d.client.begin(t.Context(), "POST", "/nodes/pve1/qemu", map[string]any{"vmid": 100}); err != nil {
		t.Fatal(err)
	}
	want := []string{`POST /nodes/pve1/qemu {"vmid":100}`, "POST /access/ticket password=secret&username=admin%40pve", `POST /nodes/pve1/qemu {"vmid":100}`}
	if got := s.seen()[before:]; strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("requests are %q", got)
	}
	if tickets.posts != 1 {
		t.Errorf("carried out %d times", tickets.posts)
	}
}

func TestWrongPasswordIsAskedOnce(t *testing.T) {
	s := serve(t, (&ticketServer{}).answer)
	settings := s.settings(map[string]string{"username": "admin@pve", "password": "wrong"})
	_, err := openRaw(t, settings).Inventory(t.Context())
	check(t, err, broker.HypervisorAuth, "refused user or password")
	if seen := s.seen(); len(seen) != 1 {
		t.Errorf("requests are %q", seen)
	}
}

func TestMissingPrivilegeDoesNotLogInAgain(t *testing.T) {
	tickets := &ticketServer{}
	s := serve(t, func(request *http.Request) string {
		if strings.HasSuffix(request.URL.Path, "/access/ticket") {
			return tickets.answer(request)
		}
		return reply("403 Permission check failed", "")
	})
	_, err := s.byPassword(t).Inventory(t.Context())
	check(t, err, broker.HypervisorAuth, "lacks a privilege")
	if seen := s.seen(); len(seen) != 2 {
		t.Errorf("requests are %q", seen)
	}
}

func TestTicketIsRenewedAtHalfLife(t *testing.T) {
	for renewing, want := range map[bool]string{true: "secret PVE:admin@pve:1::a+b/c=", false: "secret PVE:admin@pve:1::a+b/c= secret"} {
		tickets := &ticketServer{renewing: renewing}
		s := serve(t, tickets.answer)
		settings := s.settings(map[string]string{"username": "admin", "realm": "pve", "password": "secret"})
		now := time.Now()
		settings.Now = func() time.Time { return now }
		d := openRaw(t, settings)
		for _, later := range []time.Duration{0, 59 * time.Minute, 2 * time.Minute} {
			now = now.Add(later)
			if _, err := d.Inventory(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Join(tickets.passwords(), " "); got != want {
			t.Errorf("renewing %v: logins with %q, want %q", renewing, got, want)
		}
	}
}

func TestOldRefusalDoesNotVoidANewTicket(t *testing.T) {
	tickets := &ticketServer{}
	d := serve(t, tickets.answer).byPassword(t)
	old, err := d.client.credential.proof(t.Context(), d.client.login)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second refusal is of a request that was sent before the new login
		if !d.client.credential.expire(old) {
			t.Error("a password can always be tried again")
		}
		if _, err := d.client.credential.proof(t.Context(), d.client.login); err != nil {
			t.Fatal(err)
		}
	}
	if got := tickets.passwords(); len(got) != 2 {
		t.Errorf("%d logins", len(got))
	}
}

// The one whose request began the login gives up; those who wait for the same login are served.
func TestLoginOutlivesWhoBeganIt(t *testing.T) {
	tickets := &ticketServer{}
	arrived, release := make(chan struct{}), make(chan struct{})
	s := serve(t, func(request *http.Request) string {
		if strings.HasSuffix(request.URL.Path, "/access/ticket") {
			arrived <- struct{}{}
			<-release
		}
		return tickets.answer(request)
	})
	d := s.byPassword(t)
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := d.Inventory(ctx)
		first <- err
	}()
	<-arrived
	go func() {
		_, err := d.Inventory(t.Context())
		second <- err
	}()
	cancel()
	check(t, <-first, broker.Unreachable, "login")
	close(release)
	if err := <-second; err != nil {
		t.Error(err)
	}
	if got := tickets.passwords(); len(got) != 1 {
		t.Errorf("%d logins", len(got))
	}
}

func TestSecondFactorIsExplained(t *testing.T) {
	s := serve(t, func(*http.Request) string {
		return data(`{"ticket":"PVE:!tfa!...","NeedTFA":1,"CSRFPreventionToken":"x","username":"admin@pve"}`)
	})
	_, err := s.byPassword(t).Inventory(t.Context())
	check(t, err, broker.HypervisorAuth, "use an API token")
}

func TestOptions(t *testing.T) {
	token := map[string]string{"host": "pve.example.org", "tokenId": testToken, "tokenSecret": testSecret}
	with := func(name, value string) map[string]string {
		out := map[string]string{name: value}
		for key, each := range token {
			if key != name {
				out[key] = each
			}
		}
		return out
	}
	for _, fact := range []struct {
		given map[string]string
		field string
	}{
		{token, ""}, {with("host", "::1"), ""}, {with("host", "[2001:db8::1]"), ""}, {with("host", "10.0.0.1"), ""}, {with("port", "443"), ""},
		{with("host", ""), "host"}, {with("host", "a/b"), "host"}, {with("host", "a@b"), "host"}, {with("host", "https://a"), "host"},
		{with("port", "0"), "port"}, {with("port", "x"), "port"}, {with("tokenId", "root@pam"), "tokenId"}, {with("tokenId", "a!b"), "tokenId"},
		{with("tokenSecret", ""), "tokenSecret"}, {with("tokenSecret", "a b\r\nX: y"), "tokenSecret"}, {with("nodeName", "../x"), "nodeName"},
		{map[string]string{"host": "a", "username": "root", "password": "x"}, ""},
		{map[string]string{"host": "a", "username": "root@pve", "password": "x"}, ""},
		{map[string]string{"host": "a", "password": "x"}, "username"},
		{map[string]string{"host": "a", "username": "a b", "password": "x"}, "username"},
		{map[string]string{"host": "a", "username": "root"}, "password"},
		{map[string]string{"host": "a", "username": "root", "password": "x", "realm": "1 2"}, "realm"},
	} {
		_, err := parseOptions(fact.given)
		if fact.field == "" && err != nil || fact.field != "" && !isField(err, fact.field) {
			t.Errorf("%v: %v, want %q", fact.given, err, fact.field)
		}
	}
	parsed, err := parseOptions(map[string]string{"host": "::1", "username": "root@pve", "password": "x", "realm": "pam"})
	if err != nil || parsed.user != "root@pve" || parsed.endpoint() != "[::1]:8006" {
		t.Errorf("options are %+v, %v", parsed, err)
	}
}

func isField(err error, field string) bool {
	failure, is := err.(*broker.Error)
	return is && failure.Kind == broker.Invalid && failure.Field == field
}
