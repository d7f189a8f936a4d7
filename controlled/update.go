package controlled

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	wire "gantry/internal/controlledclient"
)

func (u *updates) routes(router gin.IRoutes) {
	router.POST("/update", u.update)
	router.GET("/update", u.last)
}

// Bounds of what is fetched.
const (
	maxManifest        = 64 << 10
	maxBinary          = 512 << 20
	manifestTimeout    = 30 * time.Second
	binaryTimeout      = 4 * time.Minute // within the HTTP server's write timeout
	signatureSuffix    = ".sig"
	updateFile         = "update.json"
	previousSuffix     = ".previous"
	maxVersionLength   = 64
	maxChecksumLetters = 2 * sha256.Size
)

// updateManifest is what update_url names. Its signature, over the file as it is, stands beside it: Ed25519 (RFC 8032) in base64, at
// the same address with ".sig" behind. The binaries are known by the checksums in it.
type updateManifest struct {
	Version string                  `json:"version"`
	Files   map[string]updateBinary `json:"files"` // by "linux/amd64"
}

type updateBinary struct {
	URL    string `json:"url"` // may be relative to the manifest's
	SHA256 string `json:"sha256"`
}

// updates replaces the daemon's own program.
type updates struct {
	url     string // where the daemon answers
	config  Config
	client  *http.Client
	log     *slog.Logger
	restart func(program string)

	busy sync.Mutex
}

// update fetches the release that update_url names, and lets it take over. A release that is not newer is none. The answer comes before
// the daemon restarts; GET /update tells how it went.
func (u *updates) update(c *gin.Context) {
	if !u.busy.TryLock() {
		fail(c, refused(wire.ReasonBusy, "an update is under way"))
		return
	}
	defer u.busy.Unlock()
	ctx, cancel := context.WithTimeout(c.Request.Context(), binaryTimeout)
	defer cancel()
	state, err := u.replace(ctx)
	if err != nil {
		fail(c, err)
		return
	}
	succeed(c, state)
	if state.State == wire.UpdateRestarting {
		u.log.Info("a new release takes over", "version", state.Version)
		u.restart(u.config.Executable)
	}
}

// last tells how the last update went.
func (u *updates) last(c *gin.Context) {
	var order updateOrder
	err := readJSON(filepath.Join(u.config.DataDir, updateFile), &order)
	if errors.Is(err, fs.ErrNotExist) {
		err = notFound("there was no update yet")
	}
	if err != nil {
		fail(c, err)
		return
	}
	succeed(c, order.Update)
}

func (u *updates) replace(ctx context.Context) (wire.Update, error) {
	var none wire.Update
	if u.config.UpdateURL == "" {
		return none, forbidden("update_url", "updates are not configured on this node: set update_url and update_key")
	}
	manifest, err := u.manifest(ctx)
	if err != nil {
		return none, err
	}
	if !newer(manifest.Version, u.config.Version) {
		return wire.Update{Version: u.config.Version, State: wire.UpdateCurrent}, nil
	}
	binary, found := manifest.Files[runtime.GOOS+"/"+runtime.GOARCH]
	if !found {
		return none, refused(wire.ReasonFailed, "release %s has no program for %s/%s", manifest.Version, runtime.GOOS, runtime.GOARCH)
	}
	fresh, err := u.fetchBinary(ctx, binary)
	if err != nil {
		return none, err
	}
	defer os.Remove(fresh) // gone already when all went well
	state := wire.Update{Version: manifest.Version, State: wire.UpdateRestarting}
	if err := u.swap(fresh); err != nil {
		return none, fmt.Errorf("replace the program: %w", err)
	}
	if err := u.guard(state); err != nil {
		return none, errors.Join(fmt.Errorf("watch over the new program: %w", err), os.Rename(u.config.Executable+previousSuffix, u.config.Executable))
	}
	return state, nil
}

// manifest fetches the release's description and believes it only with the operator's signature.
func (u *updates) manifest(ctx context.Context) (updateManifest, error) {
	var manifest updateManifest
	key, err := updateKey(u.config.UpdateKey)
	if err != nil {
		return manifest, err
	}
	ctx, cancel := context.WithTimeout(ctx, manifestTimeout)
	defer cancel()
	content, err := u.fetch(ctx, u.config.UpdateURL, maxManifest)
	if err != nil {
		return manifest, refused(wire.ReasonFailed, "the release's description can't be fetched: %v", err)
	}
	text, err := u.fetch(ctx, u.config.UpdateURL+signatureSuffix, 1<<10)
	if err != nil {
		return manifest, refused(wire.ReasonFailed, "the release's signature can't be fetched: %v", err)
	}
	signature, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || !ed25519.Verify(key, content, signature) {
		return manifest, forbidden("signature", "the release is not signed with the key that this node trusts")
	}
	if err := json.Unmarshal(content, &manifest); err != nil || manifest.Version == "" || len(manifest.Version) > maxVersionLength || !printable(manifest.Version) {
		return manifest, refused(wire.ReasonFailed, "the release's description can't be read")
	}
	return manifest, nil
}

func updateKey(text string) (ed25519.PublicKey, error) {
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, forbidden("update_key", "must be an Ed25519 public key in base64")
	}
	return key, nil
}

// open begins to fetch an address; redirects and addresses are judged as for images.
func (u *updates) open(ctx context.Context, address string) (io.ReadCloser, error) {
	parsed, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("not an address")
	}
	if err := checkURL(parsed, u.config.AllowPrivateDownloads); err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", u.config.UserAgent)
	reply, err := u.client.Do(request)
	if err != nil {
		return nil, err
	}
	if reply.StatusCode != http.StatusOK {
		_ = reply.Body.Close()
		return nil, fmt.Errorf("the server answers %d %s", reply.StatusCode, http.StatusText(reply.StatusCode))
	}
	return reply.Body, nil
}

func (u *updates) fetch(ctx context.Context, address string, most int64) ([]byte, error) {
	body, err := u.open(ctx, address)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	content, err := io.ReadAll(io.LimitReader(body, most+1))
	if err == nil && int64(len(content)) > most {
		err = fmt.Errorf("it has more than %d bytes", most)
	}
	return content, err
}

// fetchBinary puts the program beside the present one, whole and verified, or not at all.
func (u *updates) fetchBinary(ctx context.Context, binary updateBinary) (path string, err error) {
	base, err := url.Parse(u.config.UpdateURL)
	if err != nil {
		return "", err
	}
	address, err := base.Parse(binary.URL)
	if err != nil || len(binary.SHA256) != maxChecksumLetters {
		return "", refused(wire.ReasonFailed, "the release's description has no usable address or checksum")
	}
	body, err := u.open(ctx, address.String())
	if err != nil {
		return "", refused(wire.ReasonFailed, "the program can't be fetched: %v", err)
	}
	defer body.Close()
	file, err := os.CreateTemp(filepath.Dir(u.config.Executable), ".gantry-update-*")
	if err != nil {
		return "", err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	sum := sha256.New()
	count, err := io.Copy(io.MultiWriter(file, sum), io.LimitReader(body, maxBinary+1))
	switch {
	case err != nil:
		return "", refused(wire.ReasonFailed, "the program can't be fetched: %v", err)
	case count > maxBinary:
		return "", refused(wire.ReasonFailed, "the program has more than %d bytes", maxBinary)
	case !strings.EqualFold(hex.EncodeToString(sum.Sum(nil)), binary.SHA256):
		return "", forbidden("sha256", "the program is not the one that was signed")
	}
	return file.Name(), errors.Join(file.Chmod(0o755), file.Sync())
}

// swap puts the new program into the place of the present one, which stays beside it. At no moment is there none.
func (u *updates) swap(fresh string) error {
	previous := u.config.Executable + previousSuffix
	if err := os.Remove(previous); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(u.config.Executable, previous); err != nil {
		return err
	}
	if err := os.Rename(fresh, u.config.Executable); err != nil {
		return err
	}
	return syncDir(filepath.Dir(u.config.Executable))
}
