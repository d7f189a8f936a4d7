package admin

import (
	"context"
	"encoding/base64"

	"gantry/server/api/route"
)

func (c *Calls) sessionRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getSession", Auth: route.Admin, Name: "getSession", Group: "login",
			Summary: "Tells who is logged in.",
		}, c.session),
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/changePassword", Auth: route.Admin, Name: "changePassword", Group: "login", Audit: true,
			Summary: "Changes one's own password. All sessions end; data and the header Authorization hold a token for a new one.",
		}, c.changePassword),
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/newSecondFactor", Auth: route.Admin, Name: "newSecondFactor", Group: "login", Audit: true,
			Summary: "Makes the secret of a second factor (RFC 6238). It is in force only after enableSecondFactor.",
		}, c.newSecondFactor),
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/enableSecondFactor", Auth: route.Admin, Name: "enableSecondFactor", Group: "login", Audit: true,
			Summary: "Asks for the second factor at one's own logins from now on.",
		}, c.enableSecondFactor),
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/disableSecondFactor", Auth: route.Admin, Name: "disableSecondFactor", Group: "login", Audit: true,
			Summary: "Asks for no second factor any more.",
		}, c.disableSecondFactor),
	}
}

// Session tells who is logged in.
type Session struct {
	ID              int64  `json:"id"`
	Username        string `json:"username"`
	Name            string `json:"name"`
	InitialPassword bool   `json:"initialPassword" doc:"the password is one that somebody else chose"`
	SecondFactor    bool   `json:"secondFactor" doc:"logins ask for a code"`
}

func (c *Calls) session(_ context.Context, call *route.Call, _ route.Nothing) (Session, error) {
	admin := call.Admin
	return Session{
		ID: admin.ID, Username: admin.Username, Name: admin.Name, InitialPassword: admin.InitialPassword(),
		SecondFactor: admin.TOTPSecret != "",
	}, nil
}

// PasswordRequest changes one's own password.
type PasswordRequest struct {
	Password    string `json:"password" rule:"required,max=128" doc:"the present one"`
	NewPassword string `json:"newPassword" rule:"required,max=128" doc:"8 to 128 characters"`
}

func (c *Calls) changePassword(ctx context.Context, call *route.Call, request PasswordRequest) (string, error) {
	session, err := c.Accounts.ChangePassword(ctx, call.Admin.ID, request.Password, request.NewPassword, call.Client)
	if err != nil {
		return "", err
	}
	call.Header.Set("Authorization", session.Token)
	return session.Token, nil
}

// SecondFactor is what an authenticator app has to be told.
type SecondFactor struct {
	Secret  string `json:"secret" doc:"base32"`
	URI     string `json:"uri" doc:"otpauth://…"`
	Picture string `json:"picture" doc:"the uri as QR code: a data: URL of a PNG"`
}

func (c *Calls) newSecondFactor(_ context.Context, call *route.Call, _ route.Nothing) (SecondFactor, error) {
	factor, err := c.Accounts.NewSecondFactor(call.Admin)
	if err != nil {
		return SecondFactor{}, err
	}
	picture := "data:image/png;base64," + base64.StdEncoding.EncodeToString(factor.Picture)
	return SecondFactor{Secret: factor.Secret, URI: factor.URI, Picture: picture}, nil
}

// SecondFactorRequest puts a second factor in force.
type SecondFactorRequest struct {
	Secret   string `json:"secret" rule:"required,max=64" doc:"of newSecondFactor"`
	Code     string `json:"code" rule:"required,max=10" doc:"what the app shows now"`
	Password string `json:"password" rule:"required,max=128" doc:"one's own"`
}

func (c *Calls) enableSecondFactor(ctx context.Context, call *route.Call, request SecondFactorRequest) (route.Null, error) {
	return nil, c.Accounts.EnableSecondFactor(ctx, call.Admin.ID, request.Secret, request.Code, request.Password, call.Client)
}

// PasswordProof proves that it is the admin who asks.
type PasswordProof struct {
	Password string `json:"password" rule:"required,max=128" doc:"one's own"`
}

func (c *Calls) disableSecondFactor(ctx context.Context, call *route.Call, request PasswordProof) (route.Null, error) {
	return nil, c.Accounts.DisableSecondFactor(ctx, call.Admin.ID, request.Password, call.Client)
}
