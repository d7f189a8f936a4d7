package controlled

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"io"
	"strings"
)

// checksumAlgorithms are those that distributions publish beside their cloud images and that nobody can forge.
var checksumAlgorithms = map[string]func() hash.Hash{
	"sha256": sha256.New,
	"sha512": sha512.New,
}

// parseChecksum reads "algorithm:hex" and returns it in lower case; empty text means that none is wanted.
func parseChecksum(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	algorithm, digest, _ := strings.Cut(strings.ToLower(text), ":")
	newHash := checksumAlgorithms[algorithm]
	if newHash == nil {
		return "", invalid("checksum", `must be "sha256:" or "sha512:" and the digest in hexadecimal`)
	}
	raw, err := hex.DecodeString(digest)
	if err != nil || len(raw) != newHash().Size() {
		return "", invalid("checksum", "must have %d hexadecimal digits after %q", 2*newHash().Size(), algorithm+":")
	}
	return algorithm + ":" + digest, nil
}

// checksumOf reads source to its end and returns its checksum by the same algorithm as like, a value from parseChecksum.
func checksumOf(ctx context.Context, source io.Reader, like string) (string, error) {
	algorithm, _, _ := strings.Cut(like, ":")
	sum := checksumAlgorithms[algorithm]()
	if _, err := io.CopyBuffer(sum, contextReader{ctx, source}, make([]byte, copyBuffer)); err != nil {
		return "", err
	}
	return algorithm + ":" + hex.EncodeToString(sum.Sum(nil)), nil
}

// contextReader ends a long read when ctx ends.
type contextReader struct {
	ctx    context.Context
	source io.Reader
}

func (r contextReader) Read(buffer []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.source.Read(buffer)
}
