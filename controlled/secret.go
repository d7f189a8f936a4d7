package controlled

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// secretFile holds the node's secret in DataDir, mode 0600.
const secretFile = "secret"

const secretBytes = 32

// Secret returns the node's secret kept in dataDir, creating it (32 random bytes in hexadecimal, mode 0600) at the first
// call. An operator may put a longer one there; a shorter one is an error.
func Secret(dataDir string) (string, error) {
	path := filepath.Join(dataDir, secretFile)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		raw := make([]byte, secretBytes)
		if _, err := rand.Read(raw); err != nil {
			return "", fmt.Errorf("create secret: %w", err)
		}
		secret := hex.EncodeToString(raw)
		if err := writeFileAtomically(path, []byte(secret+"\n")); err != nil {
			return "", fmt.Errorf("create secret: %w", err)
		}
		return secret, nil
	}
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	secret := strings.TrimSpace(string(content))
	if len(secret) < 2*secretBytes {
		return "", fmt.Errorf("read secret: %s holds fewer than %d characters", path, 2*secretBytes)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("read secret: %s is open to others (mode %o), must be 0600", path, info.Mode().Perm())
	}
	return secret, nil
}
