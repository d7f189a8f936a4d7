package secrets_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gantry/internal/secrets"
)

func open(t *testing.T, path, setting string) *secrets.Keyring {
	t.Helper()
	keyring, err := secrets.Open(path, setting)
	if err != nil {
		t.Fatal(err)
	}
	return keyring
}

func encrypt(t *testing.T, keyring *secrets.Keyring, plain, context string) string {
	t.Helper()
	text, err := keyring.Encrypt(plain, context)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func key(fill byte) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(fill), 32)))
}

func TestValuesComeBackOnlyWhereTheyBelong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret.key")
	keyring := open(t, path, "")
	text := encrypt(t, keyring, "s3cret", "nodes/ssh_password/1")
	if strings.Contains(text, "s3cret") {
		t.Fatal("the value can be read in the encrypted text")
	}
	again := open(t, path, "")
	flipped := []byte(text)
	flipped[len(flipped)/2] ^= 1
	for name, fact := range map[string]struct {
		keyring       *secrets.Keyring
		text, context string
		want          string
		fails         bool
	}{
		"same keyring":          {keyring, text, "nodes/ssh_password/1", "s3cret", false},
		"opened again":          {again, text, "nodes/ssh_password/1", "s3cret", false},
		"empty stays empty":     {keyring, "", "anywhere", "", false},
		"another row":           {keyring, text, "nodes/ssh_password/2", "", true},
		"changed text":          {keyring, string(flipped), "nodes/ssh_password/1", "", true},
		"never encrypted":       {keyring, "s3cret", "nodes/ssh_password/1", "", true},
		"another key":           {open(t, "", key('a')), text, "nodes/ssh_password/1", "", true},
		"shorter than a prefix": {keyring, "AA", "nodes/ssh_password/1", "", true},
	} {
		got, err := fact.keyring.Decrypt(fact.text, fact.context)
		if got != fact.want || (err != nil) != fact.fails {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") && fact.text != "s3cret" {
			t.Errorf("%s: the error tells the secret: %v", name, err)
		}
	}
	if encrypt(t, keyring, "", "x") != "" {
		t.Error("an empty value is not kept empty")
	}
	if first, second := encrypt(t, keyring, "a", "x"), encrypt(t, keyring, "a", "x"); first == second {
		t.Error("equal values can be told by their texts")
	}
}

func TestRotatedKeysStillDecrypt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret.key")
	keyring := open(t, path, "")
	old := encrypt(t, keyring, "before", "x")
	if !keyring.Current(old) {
		t.Error("a fresh value is not current")
	}
	if err := keyring.Rotate(); err != nil {
		t.Fatal(err)
	}
	fresh := encrypt(t, keyring, "after", "x")
	for name, ring := range map[string]*secrets.Keyring{"in place": keyring, "opened again": open(t, path, "")} {
		if got, err := ring.Decrypt(old, "x"); err != nil || got != "before" {
			t.Errorf("%s: old value: %q, %v", name, got, err)
		}
		if got, err := ring.Decrypt(fresh, "x"); err != nil || got != "after" {
			t.Errorf("%s: new value: %q, %v", name, got, err)
		}
		if ring.Current(old) || !ring.Current(fresh) {
			t.Errorf("%s: the new key is not the current one", name)
		}
	}
}

func TestKeysFromTheSettings(t *testing.T) {
	first := open(t, "", key('a'))
	text := encrypt(t, first, "value", "x")
	both := open(t, "", key('b')+", "+key('a'))
	if got, err := both.Decrypt(text, "x"); err != nil || got != "value" {
		t.Errorf("the second key does not decrypt: %q, %v", got, err)
	}
	if both.Current(text) || !both.Current(encrypt(t, both, "value", "x")) {
		t.Error("the first key is not the one that encrypts")
	}
	if both.Rotate() == nil {
		t.Error("keys of the settings were rotated: nothing would keep the new one")
	}
	for name, setting := range map[string]string{
		"short": "c2hvcnQ=", "not base64": "%%%", "empty part": key('a') + ",", "twice": key('a') + "," + key('a'),
	} {
		if _, err := secrets.Open("", setting); err == nil || !strings.Contains(err.Error(), secrets.Setting) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret.key")
	texts := make([]string, 8)
	var group sync.WaitGroup
	for i := range texts {
		group.Go(func() {
			keyring, err := secrets.Open(path, "")
			if err != nil {
				t.Error(err)
				return
			}
			texts[i], _ = keyring.Encrypt("value", "x")
		})
	}
	group.Wait()
	keyring := open(t, path, "")
	for _, text := range texts {
		if got, err := keyring.Decrypt(text, "x"); err != nil || got != "value" {
			t.Errorf("openers that came together got different keys: %v", err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.Open(path, ""); err == nil {
		t.Error("a file that others can read was taken")
	}
}
