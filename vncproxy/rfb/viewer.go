package rfb

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
)

// wrongPassword is what a viewer is told whose answer to the challenge is wrong.
const wrongPassword = "wrong password"

// ServeAsking plays the server towards a client that has to know password, of which only the first 8 bytes count: it offers VNC
// authentication only. It returns when the next bytes on the stream are ClientInit's. Errors: *RefusedError with Authentication set when
// the client does not know it, ErrProtocol, or the stream's own.
func ServeAsking(client io.ReadWriter, password string) error {
	if _, err := client.Write(version38.text()); err != nil {
		return fmt.Errorf("write RFB version: %w", err)
	}
	spoken, err := readVersion(client)
	if err != nil {
		return err
	}
	offer := []byte{1, securityVNC}
	if spoken == version33 {
		offer = binary.BigEndian.AppendUint32(nil, securityVNC)
	}
	if _, err := client.Write(offer); err != nil {
		return fmt.Errorf("write RFB security types: %w", err)
	}
	if spoken != version33 {
		var chosen [1]byte
		if _, err := io.ReadFull(client, chosen[:]); err != nil {
			return fmt.Errorf("read RFB security type: %w", err)
		}
		if chosen[0] != securityVNC {
			return ErrProtocol
		}
	}
	var challenge, response [challengeLength]byte
	if _, err := rand.Read(challenge[:]); err != nil {
		return fmt.Errorf("make VNC challenge: %w", err)
	}
	if _, err := client.Write(challenge[:]); err != nil {
		return fmt.Errorf("write VNC challenge: %w", err)
	}
	if _, err := io.ReadFull(client, response[:]); err != nil {
		return fmt.Errorf("read VNC response: %w", err)
	}
	wanted := Response(password, challenge)
	if subtle.ConstantTimeCompare(wanted[:], response[:]) == 1 {
		return writeResult(client, resultOK, "")
	}
	reason := wrongPassword
	if spoken != version38 {
		reason = "" // only 3.8 has one
	}
	if err := writeResult(client, resultFailed, reason); err != nil {
		return err
	}
	return &RefusedError{Authentication: true, Reason: wrongPassword}
}

func writeResult(client io.Writer, result uint32, reason string) error {
	message := binary.BigEndian.AppendUint32(nil, result)
	if reason != "" {
		message = append(binary.BigEndian.AppendUint32(message, uint32(len(reason))), reason...)
	}
	if _, err := client.Write(message); err != nil {
		return fmt.Errorf("write RFB security result: %w", err)
	}
	return nil
}
