package consoleapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"gantry/internal/tlspin"
)

// fixedBroker answers what the test set.
type fixedBroker struct {
	reply   RedeemReply
	ended   []Ended
	err     error
	request RedeemRequest
	checked []string
}

func (b *fixedBroker) Redeem(_ context.Context, request RedeemRequest) (RedeemReply, error) {
	b.request = request
	return b.reply, b.err
}

func (*fixedBroker) Stream(context.Context, StreamRequest) (Stream, error) {
	return Stream{}, Refuse(ReasonUnsupported)
}

func (b *fixedBroker) Check(_ context.Context, sessions []string) ([]Ended, error) {
	b.checked = sessions
	return b.ended, b.err
}

func serve(t *testing.T, broker Broker) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(Handler(broker, OneSecret("proxy-1", "right"), slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Close)
	return server
}

func TestRedeemOverTheWire(t *testing.T) {
	want := RedeemReply{Bound: true, Target: Target{
		Network: NetworkWebSocket, Address: "wss://pve1:8006/x", Header: map[string]string{"Cookie": "PVEAuthCookie=x"}, TLSPin: tlspin.Pin{1, 2},
		Subprotocol: "binary", VNCPassword: "12345678", VMID: 7, VMLabel: "web-1", SessionID: "S1", ClosesAt: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
	}}
	broker := &fixedBroker{reply: want}
	client := NewClient(serve(t, broker).URL+"/", "right", http.DefaultClient)
	request := RedeemRequest{Token: NewToken(), SessionKey: NewSessionKey(), FreshKey: NewSessionKey(), ClientIP: "192.0.2.1"}
	got, err := client.Redeem(t.Context(), request)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, %v", got, err)
	}
	if broker.request != request {
		t.Error("the request arrived changed")
	}
}

func TestCheckOverTheWire(t *testing.T) {
	broker := &fixedBroker{ended: []Ended{{"S2", ReasonEndedByAdmin}}}
	client := NewClient(serve(t, broker).URL, "right", http.DefaultClient)
	got, err := client.Check(t.Context(), []string{"S1", "S2"})
	if err != nil || !reflect.DeepEqual(got, broker.ended) || !reflect.DeepEqual(broker.checked, []string{"S1", "S2"}) {
		t.Errorf("got %v, %v; broker saw %v", got, err, broker.checked)
	}
	if _, err := client.Check(t.Context(), make([]string, MaxCheckedSessions+1)); err == nil {
		t.Error("too many sessions were accepted")
	}
}

func TestRefusalsTravelWithoutTheirCause(t *testing.T) {
	refused := &Refusal{Reason: ReasonTargetFailed, Detail: "no\nport", Bound: true, Err: errors.New("dial 10.1.2.3")}
	client := NewClient(serve(t, &fixedBroker{err: refused}).URL, "right", http.DefaultClient)
	_, err := client.Redeem(t.Context(), RedeemRequest{Token: NewToken(), FreshKey: NewSessionKey()})
	var got *Refusal
	if !errors.As(err, &got) || got.Reason != ReasonTargetFailed || got.Detail != "no port" || !got.Bound || got.Err != nil {
		t.Errorf("got %#v", err)
	}
}

func TestHandlerRefuses(t *testing.T) {
	good := `{"token":"` + string(NewToken()) + `","freshKey":"` + string(NewSessionKey()) + `","clientIP":""}`
	server := serve(t, &fixedBroker{err: errors.New("secret cause")})
	for _, row := range []struct {
		name, method, secret, body string
		want                       int
	}{
		{"no secret", "POST", "", good, 401},
		{"wrong secret", "POST", "Bearer wrong", good, 401},
		{"other scheme", "POST", "Basic right", good, 401},
		{"GET", "GET", "Bearer right", "", 405},
		{"no JSON", "POST", "Bearer right", "token=x", 400},
		{"unknown field", "POST", "Bearer right", `{"tokem":"x"}`, 400},
		{"more after it", "POST", "Bearer right", good + good, 400},
		{"too large", "POST", "Bearer right", `{"token":"` + strings.Repeat("x", maxRequestBytes) + `"}`, 400},
		{"malformed token", "POST", "Bearer right", `{"token":"x","freshKey":"x"}`, 409},
		{"defect", "POST", "Bearer right", good, 500},
	} {
		request, err := http.NewRequestWithContext(t.Context(), row.method, server.URL+RedeemPath, strings.NewReader(row.body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", row.secret)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != row.want || strings.Contains(string(text), "secret cause") {
			t.Errorf("%s: %d %s %v, want %d", row.name, answer.StatusCode, text, err, row.want)
		}
	}
	if _, accepted, _ := OneSecret("x", "")(t.Context(), ""); accepted {
		t.Error("an empty secret accepts an empty one")
	}
}

// What a broker, or something in its place, answers must not confuse the proxy nor carry its secret on.
func TestClientDistrustsAnswers(t *testing.T) {
	var carried bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { carried = true }))
	t.Cleanup(elsewhere.Close)
	for name, answer := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"too large":          func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, maxReplyBytes+1)) },
		"no JSON":            func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>PASSWORD") },
		"refusal of no kind": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusConflict) },
		"bad gateway":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"wrong secret":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
	} {
		server := httptest.NewServer(answer)
		_, err := NewClient(server.URL, "right", http.DefaultClient).Redeem(t.Context(), RedeemRequest{Token: NewToken()})
		server.Close()
		var refusal *Refusal
		if err == nil || errors.As(err, &refusal) || strings.Contains(err.Error(), "PASSWORD") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if carried {
		t.Error("the secret was carried elsewhere")
	}
}

func TestCloseCodesAreDistinct(t *testing.T) {
	seen := map[int]Reason{}
	for _, reason := range Reasons() {
		code := reason.CloseCode()
		if other, taken := seen[code]; taken || code < 4000 || code > 4999 {
			t.Errorf("%s has code %d, as %s has", reason, code, other)
		}
		seen[code] = reason
		if len(reason.Text()) > 123 {
			t.Errorf("text of %s does not fit into a close frame", reason)
		}
	}
	if Reason("new").CloseCode() != ReasonInternal.CloseCode() {
		t.Error("an unknown reason is not an internal error")
	}
}
