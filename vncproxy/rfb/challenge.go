package rfb

import (
	"crypto/des"
	"math/bits"
)

const (
	challengeLength = 16
	passwordLength  = 8
)

// Response answers a VNC authentication challenge: DES in ECB mode over its two blocks, the key being the password cut or
// zero-padded to 8 bytes with the bits of each byte mirrored (RFC 6143 §7.2.2 and its erratum on bit order).
// DES is what the protocol has; the connection's secrecy comes from TLS around it.
func Response(password string, challenge [challengeLength]byte) [challengeLength]byte {
	var key [passwordLength]byte
	copy(key[:], password)
	for i, b := range key {
		key[i] = bits.Reverse8(b)
	}
	cipher, err := des.NewCipher(key[:])
	if err != nil {
		return [challengeLength]byte{} // can't happen: the key always has 8 bytes
	}
	var response [challengeLength]byte
	cipher.Encrypt(response[:8], challenge[:8])
	cipher.Encrypt(response[8:], challenge[8:])
	return response
}
