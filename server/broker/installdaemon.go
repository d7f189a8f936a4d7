package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// InstallDaemonKind names the workflow that installs `gantry controlled` on a node over SSH.
const InstallDaemonKind = "install-daemon"

// defaultDaemonPort is that of the ProxmoxVE-AMS daemon.
const defaultDaemonPort = 7600

// InstallDaemonRequest asks for the daemon on a node; 0 and "" take what is known.
type InstallDaemonRequest struct {
	NodeID int64
	// Host is the node's address where it is not the cluster's.
	Host string
	// Port is where the daemon shall listen.
	Port int
	// HostKey is the SHA-256 fingerprint that the node's SSH server must show ("SHA256:…"); "" = the key on record, and at first contact any.
	HostKey string
	// ForgetHostKey drops the key on record: for a node that was set up anew.
	ForgetHostKey bool
}

// InstallDaemonData is the state that an install begins with.
type InstallDaemonData struct {
	Host        string `json:"host"`
	SSHPort     int    `json:"sshPort"`
	Port        int    `json:"port"`
	Fingerprint string `json:"fingerprint,omitempty"`
}

var fingerprintPattern = regexp.MustCompile(`^SHA256:[A-Za-z0-9+/]{43}$`)

// InstallDaemon queues an install; one that is there is replaced by this server's own release, its settings stay. The node needs an SSH
// user with a password or a key, see updateNodeInfo.
func (b *Broker) InstallDaemon(ctx context.Context, request InstallDaemonRequest, actor Actor) (*Task, error) {
	if request.HostKey != "" && !fingerprintPattern.MatchString(request.HostKey) {
		return nil, InvalidField("hostKey", "must be a fingerprint as ssh-keygen -l shows it: SHA256:…")
	}
	if request.Host != "" {
		if err := checkHost(request.Host); err != nil {
			return nil, err
		}
	}
	if _, err := within("port", &request.Port, 0, 0, 65535); err != nil {
		return nil, err
	}
	var task *Task
	err := b.store.Transact(ctx, func(tx Tx) error {
		node, err := tx.FindNode(ctx, request.NodeID)
		if err != nil {
			return named("nodeId", err)
		}
		cluster, err := tx.FindCluster(ctx, node.ClusterID)
		if err != nil {
			return err
		}
		if node.SSHUsername == "" || node.SSHPassword == "" {
			failure := Errorf(Conflict, "node %s has no SSH user and password: set sshUsername and sshPassword with updateNodeInfo", node.Name)
			failure.Field = "nodeId"
			return failure
		}
		if err := noInstall(ctx, tx, node.ID); err != nil {
			return err
		}
		if request.ForgetHostKey {
			node.SSHHostKey = ""
			if err := tx.UpdateNode(ctx, node); err != nil {
				return err
			}
		}
		data := InstallDaemonData{
			Host: firstOf(request.Host, cluster.Options["host"]), SSHPort: orDefault(node.SSHPort, 22), Port: orDefault(request.Port, defaultDaemonPort),
			Fingerprint: request.HostKey,
		}
		if data.Host == "" {
			return InvalidField("host", "is needed: the cluster is not reached by an address")
		}
		text, err := json.Marshal(data)
		if err != nil {
			return Wrap(err, "describe the install")
		}
		now := b.now().UTC()
		task = &Task{
			Kind: InstallDaemonKind, ClusterID: node.ClusterID, NodeID: node.ID, Data: text, State: TaskReady, NodeKey: fmt.Sprintf("node:%d", node.ID),
			Tenant: actor.APIKeyID, RequestedBy: actor.Name, RequestID: actor.RequestID,
			CreatedAt: now, UpdatedAt: now, RunAfter: now, Deadline: now.Add(b.queue.Deadline(InstallDaemonKind)),
		}
		return tx.InsertTask(ctx, task)
	})
	if err != nil {
		return nil, err
	}
	b.queue.Wake()
	return task, nil
}

// maxInstalls bounds how many installs are looked through.
const maxInstalls = 1000

// noInstall refuses a second install of a node at the same time.
func noInstall(ctx context.Context, tx Tx, node int64) error {
	running, _, err := tx.ListTasks(ctx, TaskFilter{Kind: InstallDaemonKind, Active: true}, Page{Number: 1, Size: maxInstalls})
	if err != nil {
		return err
	}
	for _, each := range running {
		if each.NodeID == node {
			failure := Errorf(Conflict, "task %d installs the daemon there already", each.ID)
			failure.Field = "nodeId"
			return failure
		}
	}
	return nil
}

func orDefault(value, otherwise int) int {
	if value == 0 {
		return otherwise
	}
	return value
}

func checkHost(host string) error {
	if len(host) > 253 || strings.ContainsAny(host, " /?#@%\\\r\n\t") || !printable(host) {
		return InvalidField("host", "is not a host name or address")
	}
	return nil
}
