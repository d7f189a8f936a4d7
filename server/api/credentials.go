package api

import (
	"context"
	"net/http"

	"gantry/server/api/route"
	"gantry/server/broker"
)

// admitted checks the caller's credentials; when it returns false it has answered.
func (e *exchange) admitted(ctx context.Context) bool {
	header := e.c.GetHeader("Authorization")
	var err error
	switch e.route.Auth {
	case route.Public:
		return true
	case route.Admin:
		if e.call.Admin, err = e.api.accounts.AuthenticateAdmin(ctx, header); err == nil {
			e.call.Actor.Name = "admin:" + e.call.Admin.Username
			return true
		}
	case route.APIKey:
		if header == "" {
			e.c.Header("WWW-Authenticate", `Basic realm="input AppId and AppKey"`)
			e.refuseCredentials(http.StatusUnauthorized)
			return false
		}
		if e.call.Key, err = e.api.accounts.AuthenticateKey(ctx, header); err == nil {
			e.call.Actor.Name, e.call.Actor.APIKeyID = "api:"+e.call.Key.AppID, e.call.Key.ID
			return true
		}
	}
	if err != nil && !broker.Is(err, broker.Unauthenticated) {
		e.refuse(err)
		return false
	}
	e.refuseCredentials(http.StatusOK)
	return false
}
