package guestconf

import (
	"crypto/sha256"
	"strings"
)

// HashPassword is crypt(3) with SHA-256 ("$5$salt$…", 5000 rounds), the form in which PVE stores cipassword. The algorithm is
// Ulrich Drepper's "Unix crypt using SHA-256".
func HashPassword(password, salt string) string {
	key, saltBytes := []byte(password), []byte(salt)
	inner := sha256.New()
	inner.Write(key)
	inner.Write(saltBytes)
	inner.Write(key)
	second := inner.Sum(nil)

	outer := sha256.New()
	outer.Write(key)
	outer.Write(saltBytes)
	outer.Write(repeat(second, len(key)))
	for bits := len(key); bits > 0; bits >>= 1 {
		if bits&1 != 0 {
			outer.Write(second)
		} else {
			outer.Write(key)
		}
	}
	digest := outer.Sum(nil)

	hash := sha256.New()
	for range key {
		hash.Write(key)
	}
	p := repeat(hash.Sum(nil), len(key))
	hash.Reset()
	for range 16 + int(digest[0]) {
		hash.Write(saltBytes)
	}
	s := repeat(hash.Sum(nil), len(saltBytes))

	for round := range 5000 {
		hash.Reset()
		if round&1 != 0 {
			hash.Write(p)
		} else {
			hash.Write(digest)
		}
		if round%3 != 0 {
			hash.Write(s)
		}
		if round%7 != 0 {
			hash.Write(p)
		}
		if round&1 != 0 {
			hash.Write(digest)
		} else {
			hash.Write(p)
		}
		digest = hash.Sum(digest[:0])
	}
	return "$5$" + salt + "$" + encodeCrypt(digest)
}

func repeat(block []byte, length int) []byte {
	out := make([]byte, 0, length)
	for len(out) < length {
		out = append(out, block[:min(len(block), length-len(out))]...)
	}
	return out
}

func encodeCrypt(digest []byte) string {
	var text strings.Builder
	put := func(a, b, c byte, letters int) {
		group := uint32(a)<<16 | uint32(b)<<8 | uint32(c)
		for range letters {
			text.WriteByte(saltLetters[group&63])
			group >>= 6
		}
	}
	first, second, third := 0, 10, 20
	for range 10 {
		put(digest[first], digest[second], digest[third], 4)
		first, second, third = third+1, first+1, second+1
	}
	put(0, digest[31], digest[30], 3)
	return text.String()
}
