package admin

import (
	"context"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

func (c *Calls) auditRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getAuditByPage", Auth: route.Admin, Name: "getAuditByPage", Group: "audit",
			Summary: "Lists what was changed through the API, newest first; secrets are masked.",
		}, c.listAudit),
	}
}

// AuditRecord is one write through the API.
type AuditRecord struct {
	ID        int64  `json:"id"`
	Time      int64  `json:"time"`
	RequestID string `json:"requestId"`
	Actor     string `json:"actor" doc:"admin:name, api:appid or public"`
	Address   string `json:"address" doc:"of the caller"`
	Method    string `json:"method"`
	Path      string `json:"path" doc:"without the admin path"`
	Body      string `json:"body" doc:"secrets are masked"`
	Code      int    `json:"code" doc:"of the answer; 20000 is success"`
	Millis    int64  `json:"millis" doc:"how long it took"`
}

func (c *Calls) listAudit(ctx context.Context, _ *route.Call, request ams.Paging) (ams.List[AuditRecord], error) {
	page := request.Wanted()
	entries, total, err := c.Store.ListAudit(ctx, page)
	if err != nil {
		return ams.List[AuditRecord]{}, broker.Wrap(err, "list audit entries")
	}
	return ams.ListOf(entries, total, page, func(entry *broker.AuditEntry) AuditRecord {
		return AuditRecord{
			ID: entry.ID, Time: entry.At.UnixMilli(), RequestID: entry.RequestID, Actor: entry.Actor, Address: entry.Address,
			Method: entry.Method, Path: entry.Path, Body: entry.Body, Code: entry.Code, Millis: entry.Duration.Milliseconds(),
		}
	}), nil
}
