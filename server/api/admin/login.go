package admin

import (
	"context"

	"gantry/server/api/route"
)

func (c *Calls) loginRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/loginDo", Auth: route.Public, Name: "loginDo", Group: "login", Audit: true,
			Summary: "Logs an admin in: data and the header Authorization hold a token.",
		}, c.login),
	}
}

// LoginRequest holds credentials.
type LoginRequest struct {
	Username string `json:"username" rule:"required,max=64"`
	Password string `json:"password" rule:"required,max=128"`
	Code     string `json:"code" rule:"max=10" doc:"of the second factor, where the account has one"`
}

func (c *Calls) login(ctx context.Context, call *route.Call, request LoginRequest) (string, error) {
	session, err := c.Accounts.Login(ctx, request.Username, request.Password, request.Code, call.Client)
	if err != nil {
		return "", err
	}
	call.Actor.Name = "admin:" + session.Admin.Username
	call.Header.Set("Authorization", session.Token)
	return session.Token, nil
}
