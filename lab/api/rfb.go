package api

import (
	"bytes"
	"crypto/des"
	"crypto/rand"
	"crypto/subtle"
	"io"
	"net"
)

const rfbVersion = "RFB 003.008\n"

// guardRFB is the password that QEMU sets on its VNC server (RFC 6143 §7.2.2): it speaks to the client first, then joins it with the
// guest's server, which asks for none.
func guardRFB(client, server net.Conn, password string) error {
	if err := loginRFB(server); err != nil {
		return err
	}
	if err := authenticateRFB(client, password); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer client.Close()
		_, _ = io.Copy(client, server)
	}()
	_, err := io.Copy(server, client)
	_ = server.Close()
	<-done
	return err
}

// loginRFB passes the guest's own handshake with security type None, up to its SecurityResult.
func loginRFB(server net.Conn) error {
	if _, err := readExactly(server, 12); err != nil {
		return err
	}
	if _, err := server.Write([]byte(rfbVersion)); err != nil {
		return err
	}
	count, err := readExactly(server, 1)
	if err != nil {
		return err
	}
	kinds, err := readExactly(server, int(count[0]))
	if err != nil {
		return err
	}
	if !bytes.Contains(kinds, []byte{1}) {
		return errRFB
	}
	if _, err := server.Write([]byte{1}); err != nil {
		return err
	}
	result, err := readExactly(server, 4)
	if err != nil {
		return err
	}
	if !bytes.Equal(result, []byte{0, 0, 0, 0}) {
		return errRFB
	}
	return nil
}

// authenticateRFB asks the client for the VNC password.
func authenticateRFB(client net.Conn, password string) error {
	if _, err := client.Write([]byte(rfbVersion)); err != nil {
		return err
	}
	if _, err := readExactly(client, 12); err != nil {
		return err
	}
	if _, err := client.Write([]byte{1, 2}); err != nil { // one type: VNC authentication
		return err
	}
	chosen, err := readExactly(client, 1)
	if err != nil {
		return err
	}
	if chosen[0] != 2 {
		return errRFB
	}
	challenge := make([]byte, 16)
	if _, err := rand.Read(challenge); err != nil {
		return err
	}
	if _, err := client.Write(challenge); err != nil {
		return err
	}
	response, err := readExactly(client, 16)
	if err != nil {
		return err
	}
	expected, err := vncResponse(challenge, password)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(response, expected) != 1 {
		reason := "Authentication failed"
		_, _ = client.Write(append([]byte{0, 0, 0, 1, 0, 0, 0, byte(len(reason))}, reason...))
		return errRFB
	}
	_, err = client.Write([]byte{0, 0, 0, 0})
	return err
}

// vncResponse is DES of the challenge; VNC takes the bits of each key byte in reverse order.
func vncResponse(challenge []byte, password string) ([]byte, error) {
	key := make([]byte, 8)
	copy(key, password)
	for i, value := range key {
		var reversed byte
		for bit := range 8 {
			reversed |= (value >> bit & 1) << (7 - bit)
		}
		key[i] = reversed
	}
	cipher, err := des.NewCipher(key)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 16)
	cipher.Encrypt(out[:8], challenge[:8])
	cipher.Encrypt(out[8:], challenge[8:])
	return out, nil
}
