package admin

import (
	"context"
	"net"
	"net/url"
	"strconv"
	"strings"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

func (c *Calls) nodeChangeRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/updateNodeInfo", Auth: route.Admin, Name: "updateNodeInfo", Group: "node", Audit: true,
			Summary: "Changes a node; absent and masked fields stay. The hypervisor is asked only when the way to it changes.",
		}, c.updateNode),
		route.Of(route.Route{
			Methods: erase, Path: "/{adminPath}/deleteNodeById", Auth: route.Admin, Name: "deleteNodeById", Group: "node", Audit: true,
			Summary: "Forgets a node; refused while machines or address pools are on it. Nothing changes on the hypervisor.",
		}, c.deleteNode),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getPveNodeNetworkInfo", Auth: route.Admin, Name: "getPveNodeNetworkInfo", Group: "node",
			Summary: "Lists the network interfaces of a node, as the hypervisor describes them now.",
		}, c.nodeNetworks),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getPveNodeInterfaces", Auth: route.Admin, Name: "getPveNodeInterfaces", Group: "node",
			Summary: "Gives /etc/network/interfaces of a node, read by its daemon.",
		}, c.nodeInterfaces),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getNodeInfoByOne", Auth: route.Admin, Name: "getNodeInfoByOne", Group: "node",
			Summary: "Tells the live state of a node.",
		}, c.nodeLive),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getNodeLoadAvg", Auth: route.Admin, Name: "getNodeLoadAvg", Group: "node",
			Summary: "Tells the load of a node over time.",
		}, c.nodeHistory),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getNodeCount", Auth: route.Admin, Name: "getNodeCount", Group: "node",
			Summary: "Counts the nodes.",
		}, c.countNodes),
	}
}

// LiveNodes answers about nodes what only the hypervisor knows; *fleet.Fleet does. Every call is bounded.
type LiveNodes interface {
	NodeLive(ctx context.Context, node *broker.Node) (map[string]any, error)
	NodeHistory(ctx context.Context, node *broker.Node, timeframe, consolidation string) ([]map[string]float64, error)
	// NodeNetworks is Unsupported where the driver has no such list.
	NodeNetworks(ctx context.Context, node *broker.Node) ([]map[string]any, error)
	// NodeFile is Unsupported for a node without a daemon.
	NodeFile(ctx context.Context, node *broker.Node, folder, file string) (string, error)
}

// NodeChange changes a node; absent fields and masked secrets stay.
type NodeChange struct {
	ID               int64         `json:"id" rule:"required,min=1" doc:"node"`
	Name             *string       `json:"name" rule:"max=100" doc:"name for people"`
	Area             *int64        `json:"area" rule:"min=0" doc:"region; 0 = none"`
	Host             string        `json:"host" rule:"max=253"`
	Port             int           `json:"port" rule:"min=1,max=65535"`
	Username         string        `json:"username" rule:"max=64"`
	Password         string        `json:"password" rule:"max=256"`
	Realm            string        `json:"realm" rule:"max=32"`
	TokenID          string        `json:"tokenId" rule:"max=200" doc:"user@realm!name; needs tokenSecret where it changes"`
	TokenSecret      string        `json:"tokenSecret" rule:"max=200"`
	Options          DriverOptions `json:"options" doc:"further options of the driver, see getHypervisorKinds"`
	TLSPin           string        `json:"tlsPin" rule:"max=95" doc:"SHA-256 of the hypervisor's certificate or SSH host key; default: as it is"`
	Status           *int          `json:"status" rule:"min=0,max=2" doc:"0 in use, 2 disabled; 1 (offline) is observed and changes nothing"`
	NodeName         string        `json:"nodeName" rule:"max=63" doc:"the hypervisor's own: can't be changed"`
	AutoStorage      *string       `json:"autoStorage" rule:"max=100" doc:"what storage auto means; empty: the one with most room"`
	SSHPort          *int          `json:"sshPort" rule:"min=1,max=65535"`
	SSHUsername      *string       `json:"sshUsername" rule:"max=64"`
	SSHPassword      *string       `json:"sshPassword" rule:"max=256"`
	ControllerURL    string        `json:"controllerUrl" rule:"max=500" doc:"https URL of the node's daemon; default: host and controllerPort"`
	ControllerPort   int           `json:"controllerPort" rule:"min=1,max=65535"`
	ControllerSecret string        `json:"controllerSecret" rule:"max=256" doc:"sets the daemon up; it is asked at once"`
	ControllerTLSPin string        `json:"controllerTlsPin" rule:"max=95" doc:"default: learnt now"`
}

func (c *Calls) updateNode(ctx context.Context, call *route.Call, request NodeChange) (string, error) {
	change := broker.NodeChange{
		ID: request.ID, Label: request.Name, AreaID: request.Area, NodeName: request.NodeName,
		SSHPort: request.SSHPort, SSHUsername: request.SSHUsername, SSHPassword: unmasked(request.SSHPassword), TLSPin: request.TLSPin,
	}
	var err error
	if change.Options, err = c.changedOptions(ctx, &request); err != nil {
		return "", err
	}
	if request.Status != nil && *request.Status != int(broker.NodeOffline) {
		disabled := *request.Status == int(broker.NodeDisabled)
		change.Disabled = &disabled
	}
	if request.AutoStorage != nil {
		if err := c.chosenStorage(ctx, &change, *request.AutoStorage); err != nil {
			return "", err
		}
	}
	if request.ControllerSecret != "" && request.ControllerSecret != ams.Masked {
		daemon, err := c.daemonOf(ctx, &request)
		if err != nil {
			return "", err
		}
		change.Daemon = daemon
	}
	problems, err := c.Broker.ChangeNode(ctx, change)
	for _, problem := range problems {
		call.Warn("%s", problem.Text[call.Language])
	}
	return changed, err
}

// changedOptions are the driver's options that a change sends; of a node that does not exist there are none, which ChangeNode says.
func (c *Calls) changedOptions(ctx context.Context, request *NodeChange) (map[string]string, error) {
	node, err := c.Store.FindNode(ctx, request.ID)
	if broker.Is(err, broker.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, broker.Wrap(err, "find the node")
	}
	cluster, err := c.Store.FindCluster(ctx, node.ClusterID)
	if err != nil {
		return nil, broker.Wrap(err, "find the cluster of a node")
	}
	kind, err := c.driver(cluster.Kind)
	if err != nil {
		return nil, err
	}
	sent := NodeRequest{
		Host: request.Host, Port: request.Port, Username: request.Username, Password: request.Password, Realm: request.Realm,
		TokenID: request.TokenID, TokenSecret: request.TokenSecret,
	}
	return driverOptions(kind, sent.documented(), request.Options)
}

// chosenStorage takes a storage for the operator's choice only where it is not what "auto" means already: clients send back what
// the list showed.
func (c *Calls) chosenStorage(ctx context.Context, change *broker.NodeChange, name string) error {
	node, err := c.Store.FindNode(ctx, change.ID)
	if err != nil {
		return nil // ChangeNode says so
	}
	present, err := c.autoStorage(ctx, node)
	if err == nil && present != name {
		change.DefaultStorage = &name
	}
	return err
}

func (c *Calls) daemonOf(ctx context.Context, request *NodeChange) (*broker.Daemon, error) {
	daemon := &broker.Daemon{URL: request.ControllerURL, Secret: request.ControllerSecret, TLSPin: request.ControllerTLSPin}
	if daemon.URL != "" {
		return daemon, nil
	}
	host := request.Host
	if host == "" {
		node, err := c.findNode(ctx, request.ID)
		if err != nil {
			return nil, err
		}
		cluster, err := c.Store.FindCluster(ctx, node.ClusterID)
		if err != nil {
			return nil, broker.Wrap(err, "find the cluster of a node")
		}
		if host = cluster.Options["host"]; host == "" {
			host = "127.0.0.1"
		}
		if known, err := url.Parse(node.Daemon.URL); err == nil && known.Hostname() != "" {
			host = known.Hostname()
		}
	}
	daemon.URL = "https://" + net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(orElse(request.ControllerPort, defaultDaemonPort)))
	return daemon, nil
}

// unmasked is nil for a secret that a client sends back as it was shown, and for an empty one.
func unmasked(secret *string) *string {
	if secret == nil || *secret == "" || *secret == ams.Masked {
		return nil
	}
	return secret
}

// NodeRef names a node in a query.
type NodeRef struct {
	NodeID int64 `json:"nodeId" in:"query" rule:"required,min=1" doc:"node"`
}

func (c *Calls) deleteNode(ctx context.Context, _ *route.Call, request NodeRef) (string, error) {
	return deleted, c.Broker.DeleteNode(ctx, request.NodeID)
}

func (c *Calls) nodeNetworks(ctx context.Context, _ *route.Call, request NodeRef) ([]map[string]any, error) {
	node, err := c.findNode(ctx, request.NodeID)
	if err != nil {
		return nil, err
	}
	return c.Nodes.NodeNetworks(ctx, node)
}

func (c *Calls) nodeInterfaces(ctx context.Context, _ *route.Call, request NodeRef) (string, error) {
	node, err := c.findNode(ctx, request.NodeID)
	if err != nil {
		return "", err
	}
	return c.Nodes.NodeFile(ctx, node, "/etc/network", "interfaces")
}

func (c *Calls) nodeLive(ctx context.Context, _ *route.Call, request NodeRef) (map[string]any, error) {
	node, err := c.findNode(ctx, request.NodeID)
	if err != nil {
		return nil, err
	}
	return c.Nodes.NodeLive(ctx, node)
}

// NodeHistoryRequest asks for the load of a node.
type NodeHistoryRequest struct {
	NodeRef
	Timeframe     string `json:"timeframe" in:"query" one:"hour|day|week|month|year" doc:"default hour"`
	Consolidation string `json:"cf" in:"query" one:"AVERAGE|MAX" doc:"default AVERAGE"`
}

func (c *Calls) nodeHistory(ctx context.Context, _ *route.Call, request NodeHistoryRequest) ([]map[string]float64, error) {
	node, err := c.findNode(ctx, request.NodeID)
	if err != nil {
		return nil, err
	}
	if request.Timeframe == "" {
		request.Timeframe = "hour"
	}
	if request.Consolidation == "" {
		request.Consolidation = "AVERAGE"
	}
	return c.Nodes.NodeHistory(ctx, node, request.Timeframe, request.Consolidation)
}

func (c *Calls) countNodes(ctx context.Context, _ *route.Call, _ route.Nothing) (int64, error) {
	_, total, err := c.Store.ListNodes(ctx, broker.Page{Number: 1, Size: 1})
	return total, broker.Wrap(err, "count nodes")
}
