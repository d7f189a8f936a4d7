package admin

import (
	"context"

	"gantry/server/api/route"
	"gantry/server/broker"
)

func (c *Calls) settingRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getControlledSecretKey", Auth: route.Admin, Name: "getControlledSecretKey", Group: "setting", Audit: true,
			Summary: "Tells the secret to give to daemons that are set up by hand. Daemons that Gantry installs have their own.",
		}, c.daemonSecret),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getVmDefaultDiskSize", Auth: route.Admin, Name: "getVmDefaultDiskSize", Group: "setting",
			Summary: "Tells the system disk size in GB of orders that name none.",
		}, c.diskSizes),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/updateVmDefaultDiskSize", Auth: route.Admin, Name: "updateVmDefaultDiskSize", Group: "setting", Audit: true,
			Summary: "Changes the system disk sizes of orders that name none.",
		}, c.setDiskSizes),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getAllConfig", Auth: route.Admin, Name: "getAllConfig", Group: "setting",
			Summary: "Tells all system settings.",
		}, c.allSettings),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/updateConfig", Auth: route.Admin, Name: "updateConfig", Group: "setting", Audit: true,
			Summary: "Changes system settings; fields that are absent stay.",
		}, c.setSettings),
	}
}

func (c *Calls) daemonSecret(ctx context.Context, _ *route.Call, _ route.Nothing) (string, error) {
	return c.Broker.DaemonSecret(ctx)
}

// DiskSizes are the default sizes of system disks.
type DiskSizes struct {
	Linux   int `json:"Linux" doc:"GB"`
	Windows int `json:"Windows" doc:"GB"`
}

func (c *Calls) diskSizes(ctx context.Context, _ *route.Call, _ route.Nothing) (DiskSizes, error) {
	settings, err := c.Broker.Settings(ctx)
	return DiskSizes{Linux: settings.LinuxDiskGB, Windows: settings.WindowsDiskGB}, err
}

// DiskSizesChange changes them; either may be absent.
type DiskSizesChange struct {
	Linux   *int `json:"Linux" rule:"min=1,max=16384" doc:"GB; absent: as it is"`
	Windows *int `json:"Windows" rule:"min=1,max=16384" doc:"GB; absent: as it is"`
}

func (c *Calls) setDiskSizes(ctx context.Context, _ *route.Call, request DiskSizesChange) (route.Null, error) {
	return nil, c.Broker.ChangeSettings(ctx, broker.SettingsChange{LinuxDiskGB: request.Linux, WindowsDiskGB: request.Windows})
}

// SystemConfig is the system's settings, under the original's names.
type SystemConfig struct {
	LinuxSystemDiskSize int `json:"linuxSystemDiskSize" doc:"GB, for orders that name none"`
	WinSystemDiskSize   int `json:"winSystemDiskSize" doc:"GB, for orders that name none"`
	DeleteDays          int `json:"deleteDays" doc:"how long deleted machines stay in the recycle bin; 0 = not at all"`
}

func (c *Calls) allSettings(ctx context.Context, _ *route.Call, _ route.Nothing) (SystemConfig, error) {
	settings, err := c.Broker.Settings(ctx)
	return SystemConfig{
		LinuxSystemDiskSize: settings.LinuxDiskGB, WinSystemDiskSize: settings.WindowsDiskGB, DeleteDays: settings.DeleteDays,
	}, err
}

// SystemConfigChange changes settings. Only these fields are taken, whatever else is sent.
type SystemConfigChange struct {
	LinuxSystemDiskSize *int `json:"linuxSystemDiskSize" rule:"min=1,max=16384" doc:"GB"`
	WinSystemDiskSize   *int `json:"winSystemDiskSize" rule:"min=1,max=16384" doc:"GB"`
	DeleteDays          *int `json:"deleteDays" rule:"min=0,max=3650" doc:"days in the recycle bin; 0 = destroyed at once"`
}

func (c *Calls) setSettings(ctx context.Context, call *route.Call, request SystemConfigChange) (SystemConfig, error) {
	err := c.Broker.ChangeSettings(ctx, broker.SettingsChange{
		LinuxDiskGB: request.LinuxSystemDiskSize, WindowsDiskGB: request.WinSystemDiskSize, DeleteDays: request.DeleteDays,
	})
	if err != nil {
		return SystemConfig{}, err
	}
	return c.allSettings(ctx, call, route.Nothing{})
}
