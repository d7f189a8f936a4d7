package api

import (
	"context"
	"net/http"
	"time"

	"gantry/server/broker"
)

// readyTimeout bounds how long the database may take to answer.
const readyTimeout = 2 * time.Second

// alive tells that the process serves.
func (a *API) alive(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok\n") }

// isReady tells whether calls can be carried out: the store answers.
func (a *API) isReady(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	_, _, err := a.store.ListAdmins(ctx, broker.Page{Number: 1, Size: 1})
	if err == nil && a.ready != nil {
		err = a.ready(ctx)
	}
	if err != nil {
		a.log.Warn("not ready", "error", err)
		plain(w, http.StatusServiceUnavailable, "not ready\n")
		return
	}
	plain(w, http.StatusOK, "ok\n")
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the caller has gone
}
