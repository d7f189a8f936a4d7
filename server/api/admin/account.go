package admin

import (
	"context"

	"gantry/server/account"
	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

func (c *Calls) accountRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/registerDo", Auth: route.Admin, Name: "registerDo", Group: "account", Audit: true,
			Summary: "Adds an administrator.",
		}, c.register),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getSysuser", Auth: route.Admin, Name: "getSysuser", Group: "account",
			Summary: "Lists administrators. Passwords are never told: they are stored as hashes.",
		}, c.listAdmins),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getSysuserByUuid", Auth: route.Admin, Name: "getSysuserByUuid", Group: "account",
			Summary: "Tells about one administrator.",
		}, c.adminByUUID),
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/updateSysuser", Auth: route.Admin, Name: "updateSysuser", Group: "account", Audit: true,
			Summary: "Changes an administrator. A new password ends all sessions of the account.",
		}, c.updateAdmin),
		route.Of(route.Route{
			Methods: erase, Path: "/{adminPath}/deleteSysUserById/{id}", Auth: route.Admin, Name: "deleteSysUserById", Group: "account", Audit: true,
			Summary: "Deletes an administrator; refused for the last one that can log in.",
		}, c.deleteAdmin),
	}
}

// AdminRequest describes an administrator.
type AdminRequest struct {
	Username string `json:"username" rule:"required,max=64" doc:"unique"`
	Password string `json:"password" rule:"required,max=128" doc:"8 to 128 characters"`
	Name     string `json:"name" rule:"max=100"`
	Phone    string `json:"phone" rule:"max=40"`
	Email    string `json:"email" rule:"max=254"`
}

func (c *Calls) register(ctx context.Context, _ *route.Call, request AdminRequest) (string, error) {
	_, err := c.Accounts.Register(ctx, account.Profile{
		Username: request.Username, Name: request.Name, Phone: request.Phone, Email: request.Email,
	}, request.Password)
	return "添加管理账号成功！", err
}

// AdminRecord is an administrator on the wire.
type AdminRecord struct {
	ID        int64   `json:"id"`
	UUID      string  `json:"uuid"`
	Username  string  `json:"username"`
	Password  string  `json:"password" doc:"always masked"`
	Name      *string `json:"name"`
	Phone     *string `json:"phone"`
	Email     *string `json:"email"`
	LoginDate *int64  `json:"logindate" doc:"last login; null = never"`
}

func adminOf(admin *broker.Admin) AdminRecord {
	record := AdminRecord{
		ID: admin.ID, UUID: admin.UUID, Username: admin.Username, Password: ams.Masked,
		Name: ams.Optional(admin.Name), Phone: ams.Optional(admin.Phone), Email: ams.Optional(admin.Email),
	}
	if admin.LoginAt != nil {
		moment := admin.LoginAt.UnixMilli()
		record.LoginDate = &moment
	}
	return record
}

func (c *Calls) listAdmins(ctx context.Context, _ *route.Call, request ams.Paging) (ams.List[AdminRecord], error) {
	page := request.Wanted()
	admins, total, err := c.Store.ListAdmins(ctx, page)
	if err != nil {
		return ams.List[AdminRecord]{}, broker.Wrap(err, "list administrators")
	}
	return ams.ListOf(admins, total, page, adminOf), nil
}

// AdminRef names an administrator in a query.
type AdminRef struct {
	UUID string `json:"uuid" in:"query" rule:"required,max=64"`
}

func (c *Calls) adminByUUID(ctx context.Context, _ *route.Call, request AdminRef) (AdminRecord, error) {
	admin, err := c.Store.FindAdminByUUID(ctx, request.UUID)
	if broker.Is(err, broker.NotFound) {
		failure := broker.Because(broker.NotFound, broker.ReasonAdminNotFound, request.UUID)
		failure.Field = "uuid"
		return AdminRecord{}, failure
	}
	if err != nil {
		return AdminRecord{}, broker.Wrap(err, "find the administrator")
	}
	return adminOf(admin), nil
}

// AdminChange changes an administrator.
type AdminChange struct {
	ID       int64  `json:"id" rule:"required,min=1"`
	Username string `json:"username" rule:"required,max=64" doc:"unique"`
	Password string `json:"password" rule:"max=128" doc:"8 to 128 characters; empty: as it is"`
	Name     string `json:"name" rule:"max=100"`
	Phone    string `json:"phone" rule:"max=40"`
	Email    string `json:"email" rule:"max=254"`
}

func (c *Calls) updateAdmin(ctx context.Context, _ *route.Call, request AdminChange) (string, error) {
	return changed, c.Accounts.UpdateAdmin(ctx, request.ID, account.Profile{
		Username: request.Username, Name: request.Name, Phone: request.Phone, Email: request.Email,
	}, request.Password)
}

// AdminPath names an administrator in a path.
type AdminPath struct {
	ID int64 `json:"id" in:"path" rule:"required,min=1" doc:"administrator"`
}

func (c *Calls) deleteAdmin(ctx context.Context, _ *route.Call, request AdminPath) (string, error) {
	return deleted, c.Accounts.DeleteAdmin(ctx, request.ID)
}
