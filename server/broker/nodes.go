package broker

import (
	"context"
	"net/url"
	"slices"
	"strings"
)

// AddNode checks the endpoint live (address, certificate, credential, version, privileges, node name) and stores cluster, nodes,
// storages and bridges. An endpoint that is known already is updated with the new credential. Problems that are not fatal are
// returned beside the node; a fatal one is an Invalid or HypervisorAuth error.
func (b *Broker) AddNode(ctx context.Context, request AddNodeRequest, actor Actor) (*Node, []ClusterProblem, error) {
	if request.Kind == "" {
		request.Kind = "pve"
	}
	if err := checkNodeRequest(&request); err != nil {
		return nil, nil, err
	}
	now := b.now().UTC()
	endpoint, err := b.fleet.Endpoint(request.Kind, request.Options)
	if err != nil {
		return nil, nil, err
	}
	cluster, err := b.store.FindClusterByEndpoint(ctx, request.Kind, endpoint)
	if Is(err, NotFound) {
		cluster, err = &Cluster{
			Kind: request.Kind, Name: endpoint, Endpoint: endpoint, CreatedAt: now, VMIDFrom: b.rules.VMIDFrom, VMIDTo: b.rules.VMIDTo,
		}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	cluster.Options, cluster.TLSPin = request.Options, firstOf(request.TLSPin, cluster.TLSPin)
	report, err := b.fleet.Inspect(ctx, cluster)
	if err != nil {
		return nil, nil, err
	}
	for _, problem := range report.Problems {
		if problem.Fatal {
			return nil, report.Problems, &Error{Kind: HypervisorAuth, Reason: Reason(problem.Reason), Detail: problem.Text[English]}
		}
	}
	wanted := firstOf(request.NodeName, report.ThisNode)
	if !reported(report, wanted) {
		return nil, report.Problems, InvalidField("nodeName", "the cluster has no node %q; it has %s", bounded(wanted), nodeNames(report))
	}
	cluster.TLSPin, cluster.Version, cluster.SeenAt, cluster.LastError = report.TLSPin, report.Version, &now, ""
	if request.DaemonURL != "" {
		pin, _, err := b.fleet.CheckDaemon(ctx, Daemon{URL: request.DaemonURL, Secret: request.DaemonSecret, TLSPin: request.DaemonTLSPin})
		switch {
		case err == nil:
			request.DaemonTLSPin = pin
		case request.DaemonOptional:
			request.DaemonURL = ""
			report.Problems = append(report.Problems, ClusterProblem{Reason: "daemon_unreachable", Text: map[Language]string{
				English: "the node was added without its daemon: " + DetailOf(err), Chinese: "节点已添加，但未连接被控：" + DetailOf(err),
			}})
		default:
			return nil, report.Problems, named("controllerUrl", err)
		}
	}
	var node *Node
	err = b.store.Transact(ctx, func(tx Tx) error {
		node, err = storeCluster(ctx, tx, cluster, report, wanted, request)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	b.fleet.Forget(cluster.ID)
	return node, report.Problems, nil
}

func checkNodeRequest(request *AddNodeRequest) error {
	if request.NodeName != "" && (len(request.NodeName) > 63 || !hostnamePattern.MatchString(request.NodeName)) {
		return InvalidField("nodeName", "%q is not a node name", bounded(request.NodeName))
	}
	if len(request.Label) > 100 {
		return InvalidField("name", "at most 100 characters")
	}
	if request.DaemonURL == "" {
		return nil
	}
	address, err := url.Parse(request.DaemonURL)
	if err != nil || address.Scheme != "https" || address.Host == "" || address.User != nil {
		return InvalidField("controllerUrl", "must be an https URL")
	}
	if request.DaemonSecret == "" {
		return InvalidField("controllerSecret", "is missing")
	}
	return nil
}

func reported(report *ClusterReport, name string) bool {
	for _, node := range report.Nodes {
		if node.Node.Name == name {
			return true
		}
	}
	return false
}

func nodeNames(report *ClusterReport) string {
	names := make([]string, 0, len(report.Nodes))
	for _, node := range report.Nodes {
		names = append(names, node.Node.Name)
	}
	return strings.Join(names, ", ")
}

// storeCluster writes everything that was discovered and gives the node that was asked for.
func storeCluster(ctx context.Context, tx Tx, cluster *Cluster, report *ClusterReport, wanted string, request AddNodeRequest) (*Node, error) {
	if err := lockAreaOf(ctx, tx, "area", request.AreaID); err != nil {
		return nil, err
	}
	store := tx.InsertCluster
	if cluster.ID != 0 {
		store = tx.UpdateCluster
	}
	if err := store(ctx, cluster); err != nil {
		return nil, err
	}
	if err := tx.SetNodeRemoved(ctx, cluster.ID, wanted, false); err != nil {
		return nil, err
	}
	if err := StoreDiscovery(ctx, tx, cluster.ID, report); err != nil {
		return nil, err
	}
	node, err := tx.FindNodeByName(ctx, cluster.ID, wanted)
	if err != nil {
		return nil, err
	}
	node.Label = firstOf(request.Label, node.Label)
	if request.AreaID != nil {
		node.AreaID = request.AreaID
	}
	if request.Disabled {
		node.Status = NodeDisabled
	}
	if request.SSHUsername != "" {
		node.SSHPort, node.SSHUsername, node.SSHPassword = request.SSHPort, request.SSHUsername, request.SSHPassword
	}
	if request.DaemonURL != "" {
		fine := 0
		node.Daemon = Daemon{URL: request.DaemonURL, Secret: request.DaemonSecret, TLSPin: request.DaemonTLSPin, Status: &fine}
	}
	return node, tx.UpdateNode(ctx, node)
}

// StoreDiscovery makes nodes, storages and bridges of a cluster equal to what was found. Nodes that are gone become offline:
// machines may still be on them. Nodes that the operator removed are passed over.
func StoreDiscovery(ctx context.Context, tx Tx, cluster int64, report *ClusterReport) error {
	removed, err := tx.RemovedNodes(ctx, cluster)
	if err != nil {
		return err
	}
	for _, found := range report.Nodes {
		if slices.Contains(removed, found.Node.Name) {
			continue
		}
		node := found.Node
		node.ClusterID = cluster
		if err := tx.UpsertNode(ctx, &node); err != nil {
			return err
		}
		if node.Status == NodeOffline {
			continue // an offline node tells nothing of its storages: keep what was known
		}
		if err := tx.ReplaceStorages(ctx, cluster, node.ID, found.Storages); err != nil {
			return err
		}
		if err := tx.ReplaceBridges(ctx, node.ID, found.Bridges); err != nil {
			return err
		}
	}
	known, err := tx.ListClusterNodes(ctx, cluster)
	if err != nil {
		return err
	}
	for i := range known {
		if reported(report, known[i].Name) || known[i].Status != NodeOnline {
			continue
		}
		known[i].Status, known[i].LastError = NodeOffline, "no longer a member of the cluster"
		if err := tx.UpdateNode(ctx, &known[i]); err != nil {
			return err
		}
	}
	return nil
}
