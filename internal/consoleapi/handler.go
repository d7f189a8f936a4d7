package consoleapi

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
)

// Broker is what the handler serves.
type Broker interface {
	// Redeem grants a target or returns a *Refusal; any other error is a defect and reads "internal" outside.
	Redeem(ctx context.Context, request RedeemRequest) (RedeemReply, error)
	// Check lists those of the sessions that have to end; unknown ones are among them.
	Check(ctx context.Context, sessions []string) ([]Ended, error)
	// Stream opens the screen of a session that Redeem granted, or returns a *Refusal; any other error is a defect.
	Stream(ctx context.Context, request StreamRequest) (Stream, error)
}

// Authenticate names the proxy that a secret belongs to; false refuses it. An error means that it can't be told now.
type Authenticate func(ctx context.Context, secret string) (proxy string, accepted bool, err error)

// OneSecret accepts a single secret, for a set-up with one proxy. It compares in constant time; an empty secret accepts nobody.
func OneSecret(proxy, secret string) Authenticate {
	return func(_ context.Context, presented string) (string, bool, error) {
		same := subtle.ConstantTimeCompare([]byte(presented), []byte(secret)) == 1
		return proxy, same && secret != "", nil
	}
}

// Handler serves RedeemPath, CheckPath and StreamPath. Status codes: 200 granted, 400 not understood, 401 wrong secret, 409 refused with a
// Refusal as body, 500 otherwise.
func Handler(broker Broker, authenticate Authenticate, logger *slog.Logger) http.Handler {
	h := &handler{broker: broker, authenticate: authenticate, logger: logger}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+RedeemPath, h.redeem)
	mux.HandleFunc("POST "+CheckPath, h.check)
	mux.HandleFunc("GET "+StreamPath, h.stream)
	return mux
}

type handler struct {
	broker       Broker
	authenticate Authenticate
	logger       *slog.Logger
}

func (h *handler) redeem(w http.ResponseWriter, r *http.Request) {
	var request RedeemRequest
	proxy, ok := h.accept(w, r, &request)
	if !ok {
		return
	}
	_, tokenErr := ParseToken(string(request.Token))
	_, keyErr := ParseSessionKey(string(request.FreshKey))
	if tokenErr != nil || keyErr != nil {
		h.reply(w, http.StatusConflict, Refuse(ReasonLinkInvalid))
		return
	}
	reply, err := h.broker.Redeem(r.Context(), request)
	var refusal *Refusal
	switch {
	case err == nil:
		h.reply(w, http.StatusOK, reply)
	case errors.As(err, &refusal):
		h.logger.Info("console refused", "proxy", proxy, "client", request.ClientIP, "reason", refusal.Reason, "cause", err)
		h.reply(w, http.StatusConflict, refusal)
	default:
		h.logger.Error("console redeem failed", "proxy", proxy, "error", err)
		h.reply(w, http.StatusInternalServerError, Refuse(ReasonInternal))
	}
}

func (h *handler) check(w http.ResponseWriter, r *http.Request) {
	var request CheckRequest
	proxy, ok := h.accept(w, r, &request)
	if !ok {
		return
	}
	if len(request.Sessions) > MaxCheckedSessions {
		http.Error(w, "sessions: too many", http.StatusBadRequest)
		return
	}
	ended, err := h.broker.Check(r.Context(), request.Sessions)
	if err != nil {
		h.logger.Error("console check failed", "proxy", proxy, "error", err)
		h.reply(w, http.StatusInternalServerError, Refuse(ReasonInternal))
		return
	}
	h.reply(w, http.StatusOK, CheckReply{Ended: ended})
}

// authorized authenticates the proxy; when it returns false it has answered.
func (h *handler) authorized(w http.ResponseWriter, r *http.Request) (proxy string, ok bool) {
	secret, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer || secret == "" {
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return "", false
	}
	proxy, accepted, err := h.authenticate(r.Context(), secret)
	if err != nil {
		h.logger.Error("console proxy could not be authenticated", "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return "", false
	}
	if !accepted {
		h.logger.Warn("console proxy with a wrong secret", "remote", r.RemoteAddr)
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return "", false
	}
	return proxy, true
}

// accept authenticates the proxy and decodes its request; when it returns false it has answered.
func (h *handler) accept(w http.ResponseWriter, r *http.Request, request any) (proxy string, ok bool) {
	proxy, ok = h.authorized(w, r)
	if !ok {
		return "", false
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequestBytes))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(request); err != nil || !atEnd(decoder) {
		http.Error(w, "body: not the expected JSON", http.StatusBadRequest)
		return "", false
	}
	return proxy, true
}

func atEnd(decoder *json.Decoder) bool {
	_, err := decoder.Token()
	return errors.Is(err, io.EOF)
}

func (h *handler) reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		h.logger.Debug("console answer not delivered", "error", err)
	}
}
