package account

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/alexedwards/argon2id"
	"golang.org/x/crypto/argon2"

	"gantry/server/broker"
)

// Bounds of passwords. The upper one keeps hashing cheap for hostile input.
const (
	minPassword = 8
	maxPassword = 128
)

// hashesAtOnce bounds memory and CPU that a flood of logins can take: each hash needs 19 MiB.
const hashesAtOnce = 2

// hashParameters are OWASP's first choice for argon2id (19 MiB, two passes, one lane).
var hashParameters = argon2id.Params{Memory: 19 * 1024, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

func hashPassword(password string) (string, error) {
	hash, err := argon2id.CreateHash(password, &hashParameters)
	return hash, broker.Wrap(err, "hash a password")
}

// decoyHash looks like a hash and is the hash of nothing that anybody knows: it is random.
func decoyHash() string {
	random := make([]byte, hashParameters.SaltLength+hashParameters.KeyLength)
	_, _ = rand.Read(random) // never fails, see crypto/rand
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashParameters.Memory, hashParameters.Iterations,
		hashParameters.Parallelism, encode(random[:hashParameters.SaltLength]), encode(random[hashParameters.SaltLength:]))
}

// randomPassword has 100 random bits in 20 letters and digits that can be read aloud.
func randomPassword() string { return rand.Text()[:20] }

// samePassword takes as long for a user that does not exist (hash of the decoy) as for one that does.
func (s *Service) samePassword(ctx context.Context, password, hash string) (bool, error) {
	select {
	case s.hashing <- struct{}{}:
	case <-ctx.Done():
		return false, broker.Errorf(broker.Busy, "too many logins at once")
	}
	defer func() { <-s.hashing }()
	same, err := argon2id.ComparePasswordAndHash(password, hash)
	return same, broker.Wrap(err, "compare a password")
}

// CheckPassword refuses passwords that an admin may not choose; the error names field.
func CheckPassword(field, password string) error {
	if len(password) < minPassword || len(password) > maxPassword {
		return broker.InvalidField(field, "must have %d to %d characters", minPassword, maxPassword)
	}
	return nil
}
