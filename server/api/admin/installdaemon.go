package admin

import (
	"context"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

func (c *Calls) installRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/installControlled", Auth: route.Admin, Name: "installControlled", Group: "node", Audit: true,
			Summary: "Installs the node daemon over SSH, or replaces it by this server's release: copies the program, starts the service, pins its certificate. Gantry's own.",
		}, c.installDaemon),
	}
}

// InstallRequest asks for the daemon on a node.
type InstallRequest struct {
	NodeID        int64  `json:"nodeId" rule:"required,min=1" doc:"node with sshUsername and sshPassword, which may be a private key"`
	Host          string `json:"host" rule:"max=253" doc:"the node's address; default: the cluster's"`
	Port          int    `json:"port" rule:"min=1,max=65535" doc:"where the daemon listens; default 7600"`
	HostKey       string `json:"hostKey" rule:"max=60" doc:"fingerprint that the SSH server must show, SHA256:…; default: the key on record, at first contact any"`
	ForgetHostKey bool   `json:"forgetHostKey" doc:"drop the host key on record, for a node that was set up anew"`
}

func (c *Calls) installDaemon(ctx context.Context, call *route.Call, request InstallRequest) (ams.TaskRef, error) {
	task, err := c.Broker.InstallDaemon(ctx, broker.InstallDaemonRequest{
		NodeID: request.NodeID, Host: request.Host, Port: request.Port, HostKey: request.HostKey, ForgetHostKey: request.ForgetHostKey,
	}, call.Actor)
	if err != nil {
		return ams.TaskRef{}, err
	}
	call.NoteTask(task)
	return ams.TaskRef{TaskID: task.ID}, nil
}
