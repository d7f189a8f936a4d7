// Package secrets encrypts what has to be kept readable: credentials of hypervisors and daemons, guests' passwords.
//
// The keys are a Tink keyset of XChaCha20-Poly1305 keys, whose random 192-bit nonces allow any number of values a key. They are
// kept in a file beside the database, or come from the settings; either way they are not in the database, so that a
// stolen dump holds no credential.
package secrets

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/xchacha20poly1305"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Setting is the server's setting that Open's second argument comes from: one or several keys, separated by commas, each 32
// random bytes in base64 (openssl rand -base64 32). The first encrypts, all decrypt.
const Setting = "secret_key"

const keyBytes = 32

// Keyring encrypts and decrypts. It is safe for concurrent use.
type Keyring struct {
	path string // "" when the keys came from the settings

	mu     sync.RWMutex
	handle *keyset.Handle
	aead   tink.AEAD
}

// Open gives the keyring of a file, which is created with a fresh key when there is none. When setting is not empty, it
// holds the keys (see Setting) and the file is not looked at.
//
// A file that others than its owner can read is refused.
func Open(path, setting string) (*Keyring, error) {
	if setting != "" {
		handle, err := parseSetting(setting)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", Setting, err)
		}
		return newKeyring("", handle)
	}
	handle, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		handle, err = createFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("secret key file %s: %w", path, err)
	}
	return newKeyring(path, handle)
}

func newKeyring(path string, handle *keyset.Handle) (*Keyring, error) {
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("use secret keys: %w", err)
	}
	return &Keyring{path: path, handle: handle, aead: primitive}, nil
}

// Encrypt gives text that only Decrypt with the same context turns back. The context names the place that the value belongs to,
// "nodes/ssh_password/7" say: a value that was copied to another place does not decrypt there. "" stays "": no secret.
func (k *Keyring) Encrypt(plain, context string) (string, error) {
	if plain == "" {
		return "", nil
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	sealed, err := k.aead.Encrypt([]byte(plain), []byte(context))
	if err != nil {
		return "", fmt.Errorf("encrypt %s: %w", context, err)
	}
	return base64.RawStdEncoding.EncodeToString(sealed), nil
}

// Decrypt turns Encrypt's text back. It fails for another context, an unknown key and a changed text.
func (k *Keyring) Decrypt(text, context string) (string, error) {
	if text == "" {
		return "", nil
	}
	sealed, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return "", fmt.Errorf("decrypt %s: %w", context, err)
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	plain, err := k.aead.Decrypt(sealed, []byte(context))
	if err != nil {
		return "", fmt.Errorf("decrypt %s (is it the right secret key?): %w", context, err)
	}
	return string(plain), nil
}

// Current tells whether text was encrypted with the key that encrypts now; after Rotate, values that are not can be written anew.
func (k *Keyring) Current(text string) bool {
	if text == "" {
		return true
	}
	sealed, err := base64.RawStdEncoding.DecodeString(text)
	// Tink's prefix: one byte of version, four bytes of key id.
	if err != nil || len(sealed) < 5 {
		return false
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	return binary.BigEndian.Uint32(sealed[1:5]) == k.handle.KeysetInfo().GetPrimaryKeyId()
}

// CurrentKey names the key that encrypts now; the name says nothing about the key itself.
func (k *Keyring) CurrentKey() string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return strconv.FormatUint(uint64(k.handle.KeysetInfo().GetPrimaryKeyId()), 10)
}

// Rotate makes a new key, which encrypts from now on; the old ones still decrypt. The file is replaced before the new key is
// used. Keys from the settings are rotated by putting a new one in front, so Rotate fails for them.
func (k *Keyring) Rotate() error {
	if k.path == "" {
		return fmt.Errorf("the secret keys come from %s: put a new one in front there", Setting)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	manager := keyset.NewManagerFromHandle(k.handle)
	id, err := manager.Add(aead.XChaCha20Poly1305KeyTemplate())
	if err != nil {
		return fmt.Errorf("make a secret key: %w", err)
	}
	if err := manager.SetPrimary(id); err != nil {
		return fmt.Errorf("make a secret key: %w", err)
	}
	handle, err := manager.Handle()
	if err != nil {
		return fmt.Errorf("make a secret key: %w", err)
	}
	rotated, err := newKeyring(k.path, handle)
	if err != nil {
		return err
	}
	temporary, err := writeTemporary(k.path, handle)
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, k.path); err != nil {
		return errors.Join(fmt.Errorf("replace secret key file: %w", err), os.Remove(temporary))
	}
	if err := syncFolder(filepath.Dir(k.path)); err != nil {
		return err
	}
	k.handle, k.aead = rotated.handle, rotated.aead
	return nil
}

func parseSetting(setting string) (*keyset.Handle, error) {
	manager := keyset.NewManager()
	for number, text := range strings.Split(setting, ",") {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		if err != nil || len(raw) != keyBytes {
			return nil, fmt.Errorf("key %d is not %d bytes in base64", number+1, keyBytes)
		}
		parameters, err := xchacha20poly1305.NewParameters(xchacha20poly1305.VariantTink)
		if err != nil {
			return nil, err
		}
		// The id has to be the same at every start, since it is part of each encrypted value.
		digest := sha256.Sum256(raw)
		secret := secretdata.NewBytesFromData(raw, insecuresecretdataaccess.Token{})
		key, err := xchacha20poly1305.NewKey(secret, binary.BigEndian.Uint32(digest[:4]), parameters)
		if err != nil {
			return nil, err
		}
		id, err := manager.AddKey(key)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", number+1, err)
		}
		if number == 0 {
			if err := manager.SetPrimary(id); err != nil {
				return nil, err
			}
		}
	}
	return manager.Handle()
}

func readFile(path string) (*keyset.Handle, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("mode is %04o: others can read it, make it 0600", info.Mode().Perm())
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(content)))
}

// createFile writes a new keyset unless another process was quicker; then that one's is read.
func createFile(path string) (*keyset.Handle, error) {
	handle, err := keyset.NewHandle(aead.XChaCha20Poly1305KeyTemplate())
	if err != nil {
		return nil, err
	}
	temporary, err := writeTemporary(path, handle)
	if err != nil {
		return nil, err
	}
	err = os.Link(temporary, path)
	if err = errors.Join(ignoreExists(err), os.Remove(temporary)); err != nil {
		return nil, err
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	return readFile(path)
}

func ignoreExists(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// writeTemporary writes the keyset to a file beside path, on the disk for good and readable by the owner only.
func writeTemporary(path string, handle *keyset.Handle) (string, error) {
	var content bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&content)); err != nil {
		return "", err
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return "", err
	}
	_, err = file.Write(content.Bytes())
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return "", errors.Join(err, os.Remove(file.Name()))
	}
	return file.Name(), nil
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
