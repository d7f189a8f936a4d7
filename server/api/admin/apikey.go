package admin

import (
	"context"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

func (c *Calls) keyRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/insertApiKey", Auth: route.Admin, Name: "insertApiKey", Group: "apikey", Audit: true,
			Summary: "Makes an API key. Its secret is shown here and never again.",
		}, c.insertKey),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/selectApiByPage", Auth: route.Admin, Name: "selectApiByPage", Group: "apikey",
			Summary: "Lists API keys; secrets are masked.",
		}, c.listKeys),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/disableApi/{id}", Auth: route.Admin, Name: "disableApi", Group: "apikey", Audit: true,
			Summary: "Refuses a key from now on.",
		}, c.disableKey),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/enableApi/{id}", Auth: route.Admin, Name: "enableApi", Group: "apikey", Audit: true,
			Summary: "Takes a disabled key again.",
		}, c.enableKey),
		route.Of(route.Route{
			Methods: []string{"DELETE", "POST"}, Path: "/{adminPath}/deleteApi", Auth: route.Admin, Name: "deleteApi", Group: "apikey", Audit: true,
			Summary: "Ends a key for good.",
		}, c.deleteKey),
	}
}

// KeyRequest asks for a key.
type KeyRequest struct {
	Info string `json:"info" rule:"max=255" doc:"note for people"`
}

// Key is an API key on the wire.
type Key struct {
	ID         int64   `json:"id"`
	AppID      string  `json:"appid"`
	AppKey     string  `json:"appkey" doc:"masked but for its last four characters, except in the answer to insertApiKey"`
	Info       *string `json:"info"`
	Status     int     `json:"status" doc:"0 usable, 1 disabled"`
	CreateDate int64   `json:"createDate"`
}

func keyOf(key *broker.APIKey) Key {
	record := Key{ID: key.ID, AppID: key.AppID, AppKey: ams.Masked + key.Hint, CreateDate: key.CreatedAt.UnixMilli()}
	if key.Info != "" {
		record.Info = &key.Info
	}
	if key.Disabled {
		record.Status = 1
	}
	return record
}

func (c *Calls) insertKey(ctx context.Context, _ *route.Call, request KeyRequest) (Key, error) {
	key, secret, err := c.Accounts.NewAPIKey(ctx, request.Info)
	if err != nil {
		return Key{}, err
	}
	record := keyOf(key)
	record.AppKey = secret
	return record, nil
}

func (c *Calls) listKeys(ctx context.Context, _ *route.Call, request ams.Paging) (ams.List[Key], error) {
	page := request.Wanted()
	keys, total, err := c.Store.ListAPIKeys(ctx, page)
	if err != nil {
		return ams.List[Key]{}, broker.Wrap(err, "list API keys")
	}
	return ams.ListOf(keys, total, page, keyOf), nil
}

// KeyPath names a key in a path.
type KeyPath struct {
	ID int64 `json:"id" in:"path" rule:"required,min=1" doc:"API key"`
}

// KeyRef names a key in a query.
type KeyRef struct {
	ID int64 `json:"id" in:"query" rule:"required,min=1" doc:"API key"`
}

func (c *Calls) disableKey(ctx context.Context, _ *route.Call, request KeyPath) (route.Null, error) {
	return nil, c.noSuchKey(c.Accounts.SetAPIKeyDisabled(ctx, request.ID, true), request.ID)
}

func (c *Calls) enableKey(ctx context.Context, _ *route.Call, request KeyPath) (route.Null, error) {
	return nil, c.noSuchKey(c.Accounts.SetAPIKeyDisabled(ctx, request.ID, false), request.ID)
}

func (c *Calls) deleteKey(ctx context.Context, _ *route.Call, request KeyRef) (string, error) {
	return "删除成功", c.noSuchKey(c.Accounts.DeleteAPIKey(ctx, request.ID), request.ID)
}

// noSuchKey says which key was not found.
func (c *Calls) noSuchKey(err error, id int64) error {
	if !broker.Is(err, broker.NotFound) {
		return err
	}
	failure := broker.Errorf(broker.NotFound, "API key %d does not exist", id)
	failure.Field = "id"
	return failure
}
