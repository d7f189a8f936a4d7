package rfb

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Serve plays the server towards a client that needs no further authentication: it offers security type None only. It returns
// when the next bytes on the stream are ClientInit's. Clients of RFB 3.3, 3.7 and 3.8 are understood. Errors: ErrProtocol or
// the stream's own.
func Serve(client io.ReadWriter) error {
	if _, err := client.Write(version38.text()); err != nil {
		return fmt.Errorf("write RFB version: %w", err)
	}
	spoken, err := readVersion(client)
	if err != nil {
		return err
	}
	if spoken == version33 {
		if _, err := client.Write(binary.BigEndian.AppendUint32(nil, securityNone)); err != nil {
			return fmt.Errorf("write RFB security type: %w", err)
		}
		return nil
	}
	if _, err := client.Write([]byte{1, securityNone}); err != nil {
		return fmt.Errorf("write RFB security types: %w", err)
	}
	var chosen [1]byte
	if _, err := io.ReadFull(client, chosen[:]); err != nil {
		return fmt.Errorf("read RFB security type: %w", err)
	}
	if chosen[0] != securityNone {
		return ErrProtocol
	}
	if spoken == version38 {
		if _, err := client.Write(binary.BigEndian.AppendUint32(nil, resultOK)); err != nil {
			return fmt.Errorf("write RFB security result: %w", err)
		}
	}
	return nil
}
