package rfb

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// Connect plays the client towards a VNC server up to a good SecurityResult; the next bytes on the stream are ClientInit's.
// A password is used where the server wants VNC authentication; only its first 8 bytes count. Servers of RFB 3.3, 3.7, 3.8 and
// later are understood. Errors: ErrProtocol, ErrPasswordWanted, ErrNoSecurity, *RefusedError, or the stream's own.
func Connect(server io.ReadWriter, password string) error {
	spoken, err := readVersion(server)
	if err != nil {
		return err
	}
	if _, err := server.Write(spoken.text()); err != nil {
		return fmt.Errorf("write RFB version: %w", err)
	}
	security, err := agree(server, spoken, password != "")
	if err != nil {
		return err
	}
	if security == securityVNC {
		if err := authenticate(server, password); err != nil {
			return err
		}
	} else if spoken != version38 {
		return nil // before 3.8 the type None has no SecurityResult
	}
	return readResult(server, spoken)
}

// agree settles on the security type: the server's word in 3.3, the client's choice from a list since 3.7.
func agree(server io.ReadWriter, spoken version, havePassword bool) (byte, error) {
	if spoken == version33 {
		var word [4]byte
		if _, err := io.ReadFull(server, word[:]); err != nil {
			return 0, fmt.Errorf("read RFB security type: %w", err)
		}
		decided := binary.BigEndian.Uint32(word[:])
		if decided == securityInvalid {
			return 0, readRefusal(server)
		}
		if decided > 0xff {
			return 0, ErrNoSecurity
		}
		return choose([]byte{byte(decided)}, havePassword)
	}
	var count [1]byte
	if _, err := io.ReadFull(server, count[:]); err != nil {
		return 0, fmt.Errorf("read RFB security types: %w", err)
	}
	if count[0] == 0 {
		return 0, readRefusal(server)
	}
	offered := make([]byte, count[0])
	if _, err := io.ReadFull(server, offered); err != nil {
		return 0, fmt.Errorf("read RFB security types: %w", err)
	}
	chosen, err := choose(offered, havePassword)
	if err != nil {
		return 0, err
	}
	if _, err := server.Write([]byte{chosen}); err != nil {
		return 0, fmt.Errorf("write RFB security type: %w", err)
	}
	return chosen, nil
}

// choose prefers authentication when there is a password, so that a wrong one shows.
func choose(offered []byte, havePassword bool) (byte, error) {
	vnc := bytes.IndexByte(offered, securityVNC) >= 0
	none := bytes.IndexByte(offered, securityNone) >= 0
	switch {
	case vnc && havePassword:
		return securityVNC, nil
	case none:
		return securityNone, nil
	case vnc:
		return 0, ErrPasswordWanted
	default:
		return 0, ErrNoSecurity
	}
}

func authenticate(server io.ReadWriter, password string) error {
	var challenge [challengeLength]byte
	if _, err := io.ReadFull(server, challenge[:]); err != nil {
		return fmt.Errorf("read VNC challenge: %w", err)
	}
	response := Response(password, challenge)
	if _, err := server.Write(response[:]); err != nil {
		return fmt.Errorf("write VNC response: %w", err)
	}
	return nil
}

func readResult(server io.Reader, spoken version) error {
	var word [4]byte
	if _, err := io.ReadFull(server, word[:]); err != nil {
		return fmt.Errorf("read RFB security result: %w", err)
	}
	switch binary.BigEndian.Uint32(word[:]) {
	case resultOK:
		return nil
	case resultFailed, resultTooMany:
		refused := &RefusedError{Authentication: true}
		if spoken == version38 {
			// A server may close without giving the reason that 3.8 wants; its refusal stands all the same.
			refused.Reason, _ = readReason(server)
		}
		return refused
	default:
		return ErrProtocol
	}
}

func readRefusal(server io.Reader) error {
	reason, err := readReason(server)
	if err != nil {
		return err
	}
	return &RefusedError{Reason: reason}
}

// readReason reads a reason-string; of a longer one than maxReason only the beginning.
func readReason(server io.Reader) (string, error) {
	var word [4]byte
	if _, err := io.ReadFull(server, word[:]); err != nil {
		return "", fmt.Errorf("read RFB failure reason: %w", err)
	}
	text := make([]byte, min(binary.BigEndian.Uint32(word[:]), maxReason))
	if _, err := io.ReadFull(server, text); err != nil {
		return "", fmt.Errorf("read RFB failure reason: %w", err)
	}
	return string(text), nil
}
