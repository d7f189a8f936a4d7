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

func (c *Calls) nodeRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/insertNodeMaster", Auth: route.Admin, Name: "insertNodeMaster", Group: "node", Audit: true,
			Summary: "Adds a hypervisor by password or API token. It is asked at once: address, certificate, credential, version, privileges, node name. Warnings tell what should be mended.",
		}, c.insertNode),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/selectNodeByPage", Auth: route.Admin, Name: "selectNodeByPage", Group: "node",
			Summary: "Lists nodes; secrets are masked.",
		}, c.listNodes),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getHypervisorKinds", Auth: route.Admin, Name: "getHypervisorKinds", Group: "node",
			Summary: "Lists the kinds of hypervisor with the options that insertNodeMaster takes for each.",
		}, c.hypervisorKinds),
	}
}

// added is the documented data of calls that add something.
const added = "添加成功！"

// defaultDaemonPort is documented.
const defaultDaemonPort = 7600

// NodeRequest describes a hypervisor. tokenId and tokenSecret, nodeType, options, tlsPin and the controller's fields but for
// controllerPort are Gantry's own; the ssh fields are only needed to install the node's daemon.
type NodeRequest struct {
	Kind             string        `json:"nodeType" rule:"max=32" doc:"driver; default pve"`
	Name             string        `json:"name" rule:"max=100" doc:"name for people"`
	Area             *int64        `json:"area" rule:"min=1" doc:"region"`
	Host             string        `json:"host" rule:"max=253" doc:"host name or address; required but for libvirt on the broker's own machine"`
	Port             int           `json:"port" rule:"min=1,max=65535" doc:"default: the driver's, 8006 for pve"`
	Username         string        `json:"username" rule:"max=64" doc:"account, with password; the SSH user for libvirt"`
	Password         string        `json:"password" rule:"max=256" doc:"password; or tokenId and tokenSecret"`
	Realm            string        `json:"realm" rule:"max=32" doc:"default pam"`
	TokenID          string        `json:"tokenId" rule:"max=200" doc:"user@realm!name"`
	TokenSecret      string        `json:"tokenSecret" rule:"max=200" doc:"the token's secret"`
	Options          DriverOptions `json:"options" doc:"further options of the driver, see getHypervisorKinds"`
	TLSPin           string        `json:"tlsPin" rule:"max=95" doc:"SHA-256 of the hypervisor's certificate, or of its SSH host key; default: learnt now"`
	NodeName         string        `json:"nodeName" rule:"max=63" doc:"node in the cluster; default: the one that answers"`
	SSHPort          int           `json:"sshPort" rule:"min=1,max=65535" doc:"default 22"`
	SSHUsername      string        `json:"sshUsername" rule:"max=64" doc:"optional"`
	SSHPassword      string        `json:"sshPassword" rule:"max=256" doc:"optional"`
	Status           int           `json:"status" rule:"min=0,max=2" doc:"0 in use (default), other: disabled"`
	ControllerURL    string        `json:"controllerUrl" rule:"max=500" doc:"https URL of the node's daemon; default: host and controllerPort, where that or controllerSecret is sent"`
	ControllerPort   int           `json:"controllerPort" rule:"min=1,max=65535" doc:"default 7600"`
	ControllerSecret string        `json:"controllerSecret" rule:"max=256" doc:"the daemon's secret; default, where controllerPort or controllerUrl is sent: that of getControlledSecretKey"`
	ControllerTLSPin string        `json:"controllerTlsPin" rule:"max=95" doc:"SHA-256 of the daemon's certificate; default: learnt now"`
}

func (c *Calls) insertNode(ctx context.Context, call *route.Call, request NodeRequest) (string, error) {
	if request.Kind == "" {
		request.Kind = "pve"
	}
	kind, err := c.driver(request.Kind)
	if err != nil {
		return "", err
	}
	options, err := driverOptions(kind, request.documented(), request.Options)
	if err != nil {
		return "", err
	}
	if err := completed(kind, options); err != nil {
		return "", err
	}
	optional := request.ControllerSecret == "" && (request.ControllerPort != 0 || request.ControllerURL != "")
	if optional {
		if request.ControllerSecret, err = c.Broker.DaemonSecret(ctx); err != nil {
			return "", err
		}
	}
	_, problems, err := c.Broker.AddNode(ctx, broker.AddNodeRequest{
		Kind: kind.Name, Options: options, TLSPin: request.TLSPin, NodeName: request.NodeName, Label: request.Name, AreaID: request.Area,
		Disabled: request.Status != 0, SSHPort: orElse(request.SSHPort, 22), SSHUsername: request.SSHUsername,
		SSHPassword: request.SSHPassword, DaemonURL: request.daemonURL(), DaemonSecret: request.ControllerSecret,
		DaemonTLSPin: request.ControllerTLSPin, DaemonOptional: optional,
	}, call.Actor)
	if err != nil {
		return "", err
	}
	for _, problem := range problems {
		call.Warn("%s", problem.Text[call.Language])
	}
	return added, nil
}

// documented are the fields that drivers have options for.
func (r *NodeRequest) documented() map[string]string {
	port := ""
	if r.Port != 0 {
		port = strconv.Itoa(r.Port)
	}
	return map[string]string{
		"host": r.Host, "port": port, "username": r.Username, "password": r.Password, "realm": r.Realm, "tokenId": r.TokenID,
		"tokenSecret": r.TokenSecret,
	}
}

func (r *NodeRequest) daemonURL() string {
	if r.ControllerURL != "" || r.ControllerSecret == "" {
		return r.ControllerURL
	}
	host := strings.Trim(r.Host, "[]")
	if host == "" {
		host = "127.0.0.1" // a hypervisor without an address is this machine's own
	}
	return "https://" + net.JoinHostPort(host, strconv.Itoa(orElse(r.ControllerPort, defaultDaemonPort)))
}

func orElse(value, otherwise int) int {
	if value == 0 {
		return otherwise
	}
	return value
}

// Node is a node on the wire. Secrets are always masked; csrfToken and ticket exist for the original's clients only.
type Node struct {
	ID               int64         `json:"id"`
	Name             *string       `json:"name"`
	Area             *int64        `json:"area" doc:"region"`
	AreaName         *string       `json:"areaName"`
	NodeType         string        `json:"nodeType"`
	Host             string        `json:"host"`
	Port             int           `json:"port"`
	Username         string        `json:"username"`
	Password         string        `json:"password"`
	Realm            string        `json:"realm"`
	TokenID          *string       `json:"tokenId"`
	Options          DriverOptions `json:"options" doc:"the driver's, secrets masked"`
	TLSPin           string        `json:"tlsPin" doc:"SHA-256 of the hypervisor's certificate or SSH host key; empty on the broker's own machine"`
	Status           int           `json:"status" doc:"0 online, 1 offline, 2 disabled"`
	CSRFToken        string        `json:"csrfToken"`
	Ticket           string        `json:"ticket"`
	NodeName         string        `json:"nodeName"`
	AutoStorage      string        `json:"autoStorage" doc:"storage that \"auto\" means now"`
	SSHPort          int           `json:"sshPort"`
	SSHUsername      string        `json:"sshUsername"`
	SSHPassword      string        `json:"sshPassword"`
	ControllerPort   *int          `json:"controllerPort"`
	ControllerStatus *int          `json:"controllerStatus" doc:"0 answers, 1 does not, null never asked"`
	Version          string        `json:"version" doc:"of the hypervisor"`
	LastError        string        `json:"lastError" doc:"why it is offline"`
}

func (c *Calls) listNodes(ctx context.Context, _ *route.Call, request ams.Paging) (ams.List[Node], error) {
	page := request.Wanted()
	nodes, total, err := c.Store.ListNodes(ctx, page)
	if err != nil {
		return ams.List[Node]{}, broker.Wrap(err, "list nodes")
	}
	return c.nodeRecords(ctx, nodes, total, page)
}

// nodeRecords makes the objects of a page of nodes.
func (c *Calls) nodeRecords(ctx context.Context, nodes []broker.Node, total int64, page broker.Page) (ams.List[Node], error) {
	reader := ams.NewReader(c.Store)
	clusters := map[int64]*broker.Cluster{}
	records := make([]Node, len(nodes))
	for i := range nodes {
		node := &nodes[i]
		if clusters[node.ClusterID] == nil {
			cluster, err := c.Store.FindCluster(ctx, node.ClusterID)
			if err != nil {
				return ams.List[Node]{}, broker.Wrap(err, "find the cluster of a node")
			}
			clusters[node.ClusterID] = cluster
		}
		storage, err := c.autoStorage(ctx, node)
		if err != nil {
			return ams.List[Node]{}, err
		}
		records[i] = nodeOf(node, clusters[node.ClusterID], storage)
		if kind, err := c.driver(records[i].NodeType); err == nil { // a kind that was taken out of the program has no options to show
			records[i].Options = shownOptions(kind, clusters[node.ClusterID].Options)
		}
		if records[i].AreaName, err = reader.AreaName(ctx, node.AreaID); err != nil {
			return ams.List[Node]{}, err
		}
	}
	return ams.ListOf(records, total, page, func(record *Node) Node { return *record }), nil
}

// findNode reads a node that a query names.
func (c *Calls) findNode(ctx context.Context, id int64) (*broker.Node, error) {
	node, err := c.Store.FindNode(ctx, id)
	if broker.Is(err, broker.NotFound) {
		failure := broker.Because(broker.NotFound, broker.ReasonNodeNotFound, id)
		failure.Field = "nodeId"
		return nil, failure
	}
	return node, broker.Wrap(err, "find the node")
}

func nodeOf(node *broker.Node, cluster *broker.Cluster, storage string) Node {
	options := cluster.Options
	port, _ := strconv.Atoi(options["port"]) // 0 where a driver has no port
	record := Node{
		ID: node.ID, Area: node.AreaID, NodeType: cluster.Kind, Host: options["host"], Port: port,
		Username: options["username"], Password: ams.Masked, Realm: options["realm"], Status: int(node.Status),
		CSRFToken: ams.Masked, Ticket: ams.Masked, NodeName: node.Name, AutoStorage: storage, SSHPort: orElse(node.SSHPort, 22),
		SSHUsername: node.SSHUsername, SSHPassword: ams.Masked, ControllerStatus: node.Daemon.Status,
		Version: cluster.Version, LastError: node.LastError, Options: DriverOptions{}, TLSPin: cluster.TLSPin,
	}
	if name, realm, found := strings.Cut(record.Username, "@"); found {
		record.Username, record.Realm = name, realm
	}
	if node.Label != "" {
		record.Name = &node.Label
	}
	if token := options["tokenId"]; token != "" {
		record.TokenID = &token
		user, _, _ := strings.Cut(token, "!")
		if record.Username == "" {
			record.Username, record.Realm, _ = strings.Cut(user, "@")
		}
	}
	if daemon, err := url.Parse(node.Daemon.URL); err == nil && node.Daemon.URL != "" {
		if port, err := strconv.Atoi(daemon.Port()); err == nil {
			record.ControllerPort = &port
		}
	}
	return record
}

// autoStorage is the storage that an order with storage "auto" would get now.
func (c *Calls) autoStorage(ctx context.Context, node *broker.Node) (string, error) {
	if node.DefaultStorage != "" {
		return node.DefaultStorage, nil
	}
	storages, err := c.Store.ListStorages(ctx, node.ID)
	if err != nil {
		return "", broker.Wrap(err, "list storages")
	}
	name, room := "", int64(-1)
	for _, storage := range storages {
		if storage.Enabled && storage.Active && storage.Holds("images") && storage.Available > room {
			name, room = storage.Name, storage.Available
		}
	}
	return name, nil
}
