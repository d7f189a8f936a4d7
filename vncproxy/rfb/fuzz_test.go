package rfb

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// counted is a hostile peer that counts what is taken from it and written to it.
type counted struct {
	says           *bytes.Reader
	taken, written int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.says.Read(p)
	c.taken += n
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	c.written += len(p)
	return len(p), nil
}

// FuzzConnect holds that whatever a server says, the client neither fails unexpectedly nor takes or keeps more than the bounds.
func FuzzConnect(f *testing.F) {
	f.Add([]byte("RFB 003.008\n\x02\x01\x020123456789abcdef\x00\x00\x00\x00"), "secret")
	f.Add([]byte("RFB 003.003\n\x00\x00\x00\x00\xff\xff\xff\xffbusy"), "")
	f.Add([]byte("RFB 003.007\n\x01\x01"), "")
	f.Fuzz(func(t *testing.T, server []byte, password string) {
		peer := &counted{says: bytes.NewReader(server)}
		err := Connect(peer, password)
		// version, 255 security types with their count, challenge, result, reason with its length
		if most := versionLength + 256 + challengeLength + 4 + 4 + maxReason; peer.taken > most {
			t.Errorf("took %d bytes, at most %d are in an opening", peer.taken, most)
		}
		if most := versionLength + 1 + challengeLength; peer.written > most {
			t.Errorf("wrote %d bytes, at most %d are in an opening", peer.written, most)
		}
		checkKnown(t, err)
	})
}

// FuzzServe holds the same for what a client says.
func FuzzServe(f *testing.F) {
	f.Add([]byte("RFB 003.008\n\x01\x01"))
	f.Add([]byte("RFB 003.003\n\x01"))
	f.Fuzz(func(t *testing.T, client []byte) {
		peer := &counted{says: bytes.NewReader(client)}
		err := Serve(peer)
		if peer.taken > versionLength+1 || peer.written > versionLength+2+4 {
			t.Errorf("took %d and wrote %d bytes", peer.taken, peer.written)
		}
		checkKnown(t, err)
	})
}

func checkKnown(t *testing.T, err error) {
	t.Helper()
	var refused *RefusedError
	if errors.As(err, &refused) {
		if len(refused.Reason) > maxReason {
			t.Errorf("reason of %d bytes", len(refused.Reason))
		}
		return
	}
	for _, known := range []error{nil, ErrProtocol, ErrPasswordWanted, ErrNoSecurity, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, known) {
			return
		}
	}
	t.Errorf("unexpected error %v", err)
}
