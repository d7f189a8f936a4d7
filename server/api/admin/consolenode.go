package admin

import (
	"context"
	"net/url"
	"strconv"

	"gantry/server/account"
	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

func (c *Calls) consoleNodeRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/addVncNode", Auth: route.Admin, Name: "addVncNode", Group: "vnc", Audit: true,
			Summary: "Registers a console proxy. Where no secret is sent, one is made; the header X-Console-Secret tells it here and never again.",
		}, c.addConsoleNode),
		route.Of(route.Route{
			Methods: []string{"DELETE"}, Path: "/{adminPath}/deleteVncNode", Auth: route.Admin, Name: "deleteVncNode", Group: "vnc", Audit: true,
			Summary: "Forgets a console proxy.",
		}, c.deleteConsoleNode),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/updateVncNode", Auth: route.Admin, Name: "updateVncNode", Group: "vnc", Audit: true,
			Summary: "Changes a console proxy; absent fields stay.",
		}, c.updateConsoleNode),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/selectVncNodePage", Auth: route.Admin, Name: "selectVncNodePage", Group: "vnc",
			Summary: "Lists console proxies and whether they answer.",
		}, c.listConsoleNodes),
	}
}

// consoleSecretHeader tells a secret that was made: the documented data has no place for it.
const consoleSecretHeader = "X-Console-Secret"

// ConsoleNodeRequest registers a console proxy.
type ConsoleNodeRequest struct {
	Name     string `json:"name" rule:"required,max=60" doc:"unique; getVnc names its link so"`
	Host     string `json:"host" rule:"required,max=253" doc:"where the broker reaches it"`
	Port     int    `json:"port" rule:"required,min=1,max=65535"`
	Domain   string `json:"domain" rule:"max=260" doc:"what browsers open; with :port where that differs from port; default host"`
	Protocol int    `json:"protocol" rule:"min=0,max=1" doc:"1: https; default 0"`
	Status   int    `json:"status" rule:"min=0,max=2" doc:"0 in use (default), other: disabled"`
	Secret   string `json:"secret" rule:"min=16,max=256" doc:"the proxy's own setting; default: one is made"`
}

func (c *Calls) addConsoleNode(ctx context.Context, call *route.Call, request ConsoleNodeRequest) (string, error) {
	secret := request.Secret
	if secret == "" {
		secret, _ = account.NewConsoleSecret()
	}
	hash, secure, disabled := account.HashConsoleSecret(secret), request.Protocol == 1, request.Status != 0
	err := c.Broker.SaveConsoleNode(ctx, broker.ConsoleNodeChange{
		Name: &request.Name, Host: &request.Host, Port: &request.Port, Domain: &request.Domain, TLS: &secure, Disabled: &disabled,
		SecretHash: &hash,
	})
	if err != nil {
		return "", err
	}
	if request.Secret == "" {
		call.Header.Set(consoleSecretHeader, secret)
	}
	return placed, nil
}

// ConsoleNodeChange changes a console proxy; absent fields stay.
type ConsoleNodeChange struct {
	ID       int64   `json:"id" rule:"required,min=1" doc:"console proxy"`
	Name     *string `json:"name" rule:"max=60"`
	Host     *string `json:"host" rule:"max=253"`
	Port     *int    `json:"port" rule:"min=1,max=65535"`
	Domain   *string `json:"domain" rule:"max=260"`
	Protocol *int    `json:"protocol" rule:"min=0,max=1" doc:"1: https"`
	Status   *int    `json:"status" rule:"min=0,max=2" doc:"0 in use, other: disabled"`
	Secret   *string `json:"secret" rule:"min=16,max=256" doc:"replaces the proxy's secret"`
}

func (c *Calls) updateConsoleNode(ctx context.Context, _ *route.Call, request ConsoleNodeChange) (string, error) {
	change := broker.ConsoleNodeChange{
		ID: request.ID, Name: request.Name, Host: request.Host, Port: request.Port, Domain: request.Domain,
	}
	if request.Protocol != nil {
		secure := *request.Protocol == 1
		change.TLS = &secure
	}
	if request.Status != nil {
		disabled := *request.Status != 0
		change.Disabled = &disabled
	}
	if request.Secret != nil {
		hash := account.HashConsoleSecret(*request.Secret)
		change.SecretHash = &hash
	}
	return changed, c.Broker.SaveConsoleNode(ctx, change)
}

// ConsoleNodeRef names a console proxy in a query.
type ConsoleNodeRef struct {
	ID int64 `json:"id" in:"query" rule:"required,min=1" doc:"console proxy"`
}

func (c *Calls) deleteConsoleNode(ctx context.Context, _ *route.Call, request ConsoleNodeRef) (string, error) {
	return deleted, c.Broker.DeleteConsoleNode(ctx, request.ID)
}

// ConsoleNode is a console proxy on the wire. Its secret is never told.
type ConsoleNode struct {
	ID         int64   `json:"id"`
	Name       string  `json:"name"`
	Host       string  `json:"host"`
	Port       int     `json:"port"`
	Domain     string  `json:"domain"`
	Protocol   int     `json:"protocol" doc:"1: https"`
	Status     int     `json:"status" doc:"0 in use, 1 disabled"`
	CreateDate int64   `json:"createDate"`
	Health     *int    `json:"health" doc:"0 answers, 1 does not and gets no links, null: not looked at yet"`
	CheckDate  *int64  `json:"checkDate"`
	LastError  *string `json:"lastError"`
	URL        string  `json:"url"`
}

func consoleNodeOf(node *broker.ConsoleNode) ConsoleNode {
	record := ConsoleNode{
		ID: node.ID, Name: node.Name, CreateDate: node.CreatedAt.UnixMilli(), LastError: ams.Optional(node.LastError), URL: node.URL,
	}
	record.Host, record.Port = node.HostPort()
	if address, err := url.Parse(node.URL); err == nil {
		record.Domain = address.Host
		if address.Port() == strconv.Itoa(record.Port) || address.Port() == "" {
			record.Domain = address.Hostname()
		}
		if address.Scheme == "https" {
			record.Protocol = 1
		}
	}
	if node.Disabled {
		record.Status = 1
	}
	if node.Healthy != nil {
		health := 1
		if *node.Healthy {
			health = 0
		}
		record.Health = &health
	}
	if node.CheckedAt != nil {
		moment := node.CheckedAt.UnixMilli()
		record.CheckDate = &moment
	}
	return record
}

func (c *Calls) listConsoleNodes(ctx context.Context, _ *route.Call, request ams.Paging) (ams.List[ConsoleNode], error) {
	page := request.Wanted()
	nodes, total, err := c.Store.ListConsoleNodes(ctx, page)
	if err != nil {
		return ams.List[ConsoleNode]{}, broker.Wrap(err, "list console proxies")
	}
	return ams.ListOf(nodes, total, page, consoleNodeOf), nil
}
