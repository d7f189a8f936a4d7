package rfb

import (
	"errors"
	"net"
	"testing"
)

// ask lets a client of ours meet ServeAsking.
func ask(t *testing.T, wanted, known string) (server, client error) {
	t.Helper()
	left, right := net.Pipe()
	defer left.Close()
	defer right.Close()
	ended := make(chan error, 1)
	go func() { ended <- ServeAsking(left, wanted) }()
	client = Connect(right, known)
	_ = right.Close() // a client that gave up leaves
	return <-ended, client
}

func TestAViewerHasToKnowThePassword(t *testing.T) {
	for _, row := range []struct {
		wanted, known string
		good          bool
	}{
		{"secret", "secret", true},
		{"long enough to be cut", "long eno", true},
		{"secret", "Secret", false},
		{"secret", "secre", false},
	} {
		server, client := ask(t, row.wanted, row.known)
		if row.good && (server != nil || client != nil) {
			t.Errorf("%q for %q: %v, %v", row.known, row.wanted, server, client)
		}
		if !row.good && (!isRefused(wrongPassword, true)(server) || !isRefused(wrongPassword, true)(client)) {
			t.Errorf("%q for %q: %v, %v", row.known, row.wanted, server, client)
		}
	}
	if _, client := ask(t, "secret", ""); !errors.Is(client, ErrPasswordWanted) {
		t.Errorf("without one: %v", client)
	}
}

func TestViewersOfOlderVersionsAreAskedToo(t *testing.T) {
	for name, viewer := range map[string]*script{
		"3.3": says("RFB 003.003\n", "0123456789abcdef"), "3.7": says("RFB 003.007\n", "\x02", "0123456789abcdef"),
		"3.8": says("RFB 003.008\n", "\x02", "0123456789abcdef"),
	} {
		if err := ServeAsking(viewer, "secret"); !isRefused(wrongPassword, true)(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := ServeAsking(says("RFB 003.008\n", "\x01"), "secret"); !errors.Is(err, ErrProtocol) {
		t.Errorf("one that picks None: %v", err)
	}
}
