package task

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"crypto/sha256"
	"encoding/hex"

	"gantry/internal/controlledclient"
	"gantry/internal/nodessh"
	"gantry/internal/tlspin"
	"gantry/server/broker"
)

// Installation says where the node daemon's files are on nodes, and which program becomes it.
type Installation struct {
	// Program is the file here that is copied; "" = this server's own.
	Program string
	// Paths on the node.
	ProgramPath, ConfigPath, UnitPath, DataDir string
	// Listen is the address that the daemon is told to listen on, without the port; "" = all.
	Listen string
}

// DefaultInstallation is as docs/OPERATING.md describes an install by hand.
func DefaultInstallation() Installation {
	return Installation{
		ProgramPath: "/usr/local/sbin/gantry", ConfigPath: "/etc/gantry/controlled.yaml",
		UnitPath: "/etc/systemd/system/gantry-controlled.service", DataDir: "/var/lib/gantry/controlled",
	}
}

// Commands are constants: the node's SSH server gives them to a shell.
const (
	machineCommand = "uname -sm"
	enableCommand  = "systemctl daemon-reload && systemctl enable gantry-controlled.service && systemctl restart gantry-controlled.service"
	disableCommand = "systemctl disable --now gantry-controlled.service; systemctl daemon-reload"
	restartCommand = "systemctl restart gantry-controlled.service"
)

const (
	installTimeout = 10 * time.Minute // a slow line takes its time for the program
	commandTimeout = time.Minute
	// daemonPatience is how often, once a second, a daemon that was just started is asked for.
	daemonPatience = 60
	// replacedSuffix marks the program that an install replaced, until the new one answers.
	replacedSuffix = ".gantry-replaced"
)

// installState is what an install remembers.
type installState struct {
	broker.InstallDaemonData
	// There tells what the node had before: an undone install leaves it as it was.
	Looked       bool `json:"looked,omitempty"`
	ProgramThere bool `json:"programThere,omitempty"`
	ConfigThere  bool `json:"configThere,omitempty"`
	UnitThere    bool `json:"unitThere,omitempty"`
	Asked        int  `json:"asked,omitempty"`
}

func (w *Workflows) installDaemon() Workflow {
	return Workflow{
		Kind: broker.InstallDaemonKind, Deadline: 30 * time.Minute,
		Title: map[broker.Language]string{broker.English: "Install the node daemon", broker.Chinese: "安装被控"},
		Steps: []Step{
			{Name: "log-in", Do: w.logInToNode,
				Title: map[broker.Language]string{broker.English: "Log in to the node over SSH", broker.Chinese: "通过 SSH 登录节点"}},
			{Name: "copy", Weight: 6, Do: w.copyDaemon, Undo: w.uncopyDaemon,
				Title: map[broker.Language]string{broker.English: "Copy the program", broker.Chinese: "复制程序"}},
			{Name: "start", Weight: 2, Do: w.startDaemon, Undo: w.unstartDaemon,
				Title: map[broker.Language]string{broker.English: "Start the service", broker.Chinese: "启动服务"}},
			{Name: "meet", Weight: 2, Do: w.meetDaemon,
				Title: map[broker.Language]string{broker.English: "Get to know the daemon", broker.Chinese: "连接被控"}},
		},
	}
}

// onNode logs in and works there. Nothing that fails is secret: passwords are not part of any error of SSH.
func (w *Workflows) onNode(ctx context.Context, run *Run, limit time.Duration, work func(ctx context.Context, node *broker.Node, ssh *nodessh.Node, state *installState) error) (installState, error) {
	var state installState
	if err := run.Load(&state); err != nil {
		return state, err
	}
	node, err := w.store.FindNode(ctx, run.Task.NodeID)
	if err != nil {
		return state, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	connection, err := nodessh.Dial(ctx, nodessh.Target{
		Address: net.JoinHostPort(state.Host, strconv.Itoa(state.SSHPort)), User: node.SSHUsername, Password: node.SSHPassword, HostKey: node.SSHHostKey,
	})
	if err != nil {
		return state, sshError(err)
	}
	defer connection.Close()
	return state, work(ctx, node, connection, &state)
}

func sshError(err error) error {
	var mismatch *nodessh.HostKeyError
	switch {
	case errors.As(err, &mismatch):
		return &broker.Error{Kind: broker.HypervisorAuth, Field: "hostKey", Detail: err.Error(), Err: err}
	case errors.Is(err, nodessh.ErrLogin):
		return &broker.Error{Kind: broker.HypervisorAuth, Field: "sshPassword", Detail: "the node's SSH server refuses user or password", Err: err}
	}
	return &broker.Error{Kind: broker.Unreachable, Reason: broker.ReasonHypervisorUnreachable, Detail: "the node's SSH server can't be reached: " + err.Error(), Err: err}
}

// logInToNode pins the host key that is met first, or that the operator named.
func (w *Workflows) logInToNode(ctx context.Context, run *Run) (Outcome, error) {
	var learnt string
	state, err := w.onNode(ctx, run, commandTimeout, func(ctx context.Context, node *broker.Node, ssh *nodessh.Node, state *installState) error {
		got := nodessh.Fingerprint(ssh.HostKey())
		if state.Fingerprint != "" && got != state.Fingerprint {
			return &broker.Error{Kind: broker.HypervisorAuth, Field: "hostKey", Detail: fmt.Sprintf("the node's SSH server shows the host key %s, not %s", got, state.Fingerprint)}
		}
		if node.SSHHostKey == "" {
			learnt = ssh.HostKey()
		}
		machine, err := ssh.Run(ctx, machineCommand)
		if err != nil {
			return broker.Errorf(broker.Failed, "%v", err)
		}
		if want := map[string]string{"amd64": "Linux x86_64", "arm64": "Linux aarch64"}[runtime.GOARCH]; strings.TrimSpace(machine) != want {
			return broker.Errorf(broker.Unsupported, "the node is %s, this server's program is for %s", strings.TrimSpace(machine), want)
		}
		files, err := ssh.Files()
		if err != nil {
			return broker.Errorf(broker.Failed, "%v", err)
		}
		if !state.Looked {
			at := w.Installation
			state.Looked = true
			state.ProgramThere, state.ConfigThere, state.UnitThere = files.Exists(at.ProgramPath), files.Exists(at.ConfigPath), files.Exists(at.UnitPath)
		}
		return nil
	})
	if err != nil {
		return Outcome{}, err
	}
	outcome := Outcome{State: state}
	if learnt != "" {
		outcome.Note = "SSH host key " + nodessh.Fingerprint(learnt) + " is kept for this node"
		outcome.Commit = func(ctx context.Context, tx broker.Tx) error {
			node, err := tx.FindNode(ctx, run.Task.NodeID)
			if err != nil {
				return err
			}
			node.SSHHostKey = learnt
			return tx.UpdateNode(ctx, node)
		}
	}
	return outcome, nil
}

// copyDaemon blocks while the program is copied: SFTP has nothing that goes on by itself.
func (w *Workflows) copyDaemon(ctx context.Context, run *Run) (Outcome, error) {
	program := w.Installation.Program
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			return Outcome{}, broker.Wrap(err, "find own program")
		}
	}
	_, err := w.onNode(ctx, run, installTimeout, func(_ context.Context, _ *broker.Node, ssh *nodessh.Node, state *installState) error {
		files, err := ssh.Files()
		if err != nil {
			return broker.Errorf(broker.Failed, "%v", err)
		}
		at := w.Installation
		if state.ProgramThere && !files.Exists(at.ProgramPath+replacedSuffix) { // an earlier attempt may have moved it already
			if err := files.Move(at.ProgramPath, at.ProgramPath+replacedSuffix); err != nil {
				return broker.Errorf(broker.Failed, "keep the program that is there: %v", err)
			}
		}
		content, err := os.Open(program)
		if err != nil {
			return broker.Wrap(err, "open own program")
		}
		defer content.Close()
		if err := files.Write(at.ProgramPath, content, 0o755); err != nil {
			return broker.Errorf(broker.Failed, "%v", err)
		}
		if !state.ConfigThere {
			if err := files.Write(at.ConfigPath, strings.NewReader(at.config(state.Port)), 0o600); err != nil {
				return broker.Errorf(broker.Failed, "%v", err)
			}
		}
		if !state.UnitThere {
			if err := files.Write(at.UnitPath, strings.NewReader(at.unit()), 0o644); err != nil {
				return broker.Errorf(broker.Failed, "%v", err)
			}
		}
		return nil
	})
	return Outcome{}, err
}

// config is for a node that has none: an operator's own is never written over.
func (i Installation) config(port int) string {
	return fmt.Sprintf("# Written by Gantry when it installed this daemon.\nlisten: %q\ndata_dir: %q\n", i.Listen+":"+strconv.Itoa(port), i.DataDir)
}

func (i Installation) unit() string {
	return `[Unit]
Description=Gantry node daemon
After=network-online.target pve-cluster.service
Wants=network-online.target

[Service]
ExecStart=` + i.ProgramPath + ` controlled --config ` + i.ConfigPath + `
Restart=always
# An import that is under way outlives the daemon, which takes it up again after its restart.
KillMode=process

[Install]
WantedBy=multi-user.target
`
}

// uncopyDaemon leaves the node as it was.
func (w *Workflows) uncopyDaemon(ctx context.Context, run *Run) (Outcome, error) {
	_, err := w.onNode(ctx, run, commandTimeout, func(_ context.Context, _ *broker.Node, ssh *nodessh.Node, state *installState) error {
		files, err := ssh.Files()
		if err != nil {
			return broker.Errorf(broker.Failed, "%v", err)
		}
		at := w.Installation
		switch {
		case files.Exists(at.ProgramPath + replacedSuffix):
			err = files.Move(at.ProgramPath+replacedSuffix, at.ProgramPath)
		case !state.ProgramThere:
			err = files.Remove(at.ProgramPath)
		}
		if !state.ConfigThere {
			err = errors.Join(err, files.Remove(at.ConfigPath))
		}
		if !state.UnitThere {
			err = errors.Join(err, files.Remove(at.UnitPath))
		}
		if err != nil {
			return broker.Errorf(broker.Failed, "take the daemon's files back: %v", err)
		}
		if state.UnitThere {
			_, err = ssh.Run(ctx, restartCommand)
		}
		return failed(err)
	})
	return Outcome{}, err
}

func (w *Workflows) startDaemon(ctx context.Context, run *Run) (Outcome, error) {
	_, err := w.onNode(ctx, run, commandTimeout, func(ctx context.Context, _ *broker.Node, ssh *nodessh.Node, _ *installState) error {
		_, err := ssh.Run(ctx, enableCommand)
		return failed(err)
	})
	return Outcome{}, err
}

func (w *Workflows) unstartDaemon(ctx context.Context, run *Run) (Outcome, error) {
	_, err := w.onNode(ctx, run, commandTimeout, func(ctx context.Context, _ *broker.Node, ssh *nodessh.Node, state *installState) error {
		if state.UnitThere {
			return nil // uncopyDaemon restarts what was there
		}
		_, err := ssh.Run(ctx, disableCommand)
		return failed(err)
	})
	return Outcome{}, err
}

func failed(err error) error {
	if err == nil {
		return nil
	}
	return broker.Errorf(broker.Failed, "%v", err)
}

// meetDaemon reads secret and certificate over the connection that is trusted already, so that nothing is learnt at first use, and waits
// until the daemon answers with both.
func (w *Workflows) meetDaemon(ctx context.Context, run *Run) (Outcome, error) {
	var daemon broker.Daemon
	var missing error
	state, err := w.onNode(ctx, run, commandTimeout, func(ctx context.Context, _ *broker.Node, ssh *nodessh.Node, state *installState) error {
		files, err := ssh.Files()
		if err != nil {
			return broker.Errorf(broker.Failed, "%v", err)
		}
		daemon.URL = "https://" + net.JoinHostPort(state.Host, strconv.Itoa(state.Port))
		if daemon, missing = readDaemon(files, w.Installation.DataDir, daemon); missing == nil {
			missing = answers(ctx, daemon)
		}
		return nil
	})
	if err != nil {
		return Outcome{}, err
	}
	if missing != nil {
		if state.Asked++; state.Asked < daemonPatience {
			return Outcome{State: state, After: time.Second, Note: "waiting for the daemon"}, nil
		}
		return Outcome{}, broker.Errorf(broker.Failed, "the daemon was started and does not answer at %s: %v", daemon.URL, missing)
	}
	fine := 0
	daemon.Status = &fine
	w.forgetReplaced(ctx, run)
	return Outcome{State: state, Commit: func(ctx context.Context, tx broker.Tx) error {
		node, err := tx.FindNode(ctx, run.Task.NodeID)
		if err != nil {
			return err
		}
		node.Daemon = daemon
		return tx.UpdateNode(ctx, node)
	}}, nil
}

func readDaemon(files *nodessh.Files, folder string, daemon broker.Daemon) (broker.Daemon, error) {
	secret, err := files.Read(folder + "/secret")
	if err != nil {
		return daemon, fmt.Errorf("its secret: %w", err)
	}
	text, err := files.Read(folder + "/certificate.pem")
	if err != nil {
		return daemon, fmt.Errorf("its certificate: %w", err)
	}
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			sum := sha256.Sum256(block.Bytes)
			daemon.Secret, daemon.TLSPin = strings.TrimSpace(secret), hex.EncodeToString(sum[:])
			return daemon, nil
		}
	}
	return daemon, errors.New("its certificate can't be read")
}

func answers(ctx context.Context, daemon broker.Daemon) error {
	pin, err := tlspin.Parse(daemon.TLSPin)
	if err != nil {
		return err
	}
	client, err := controlledclient.New(daemon.URL, daemon.Secret, pin)
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.Version(ctx)
	return err
}

// forgetReplaced removes the program that was kept for the way back. One that stays does no harm.
func (w *Workflows) forgetReplaced(ctx context.Context, run *Run) {
	_, err := w.onNode(ctx, run, commandTimeout, func(_ context.Context, _ *broker.Node, ssh *nodessh.Node, _ *installState) error {
		files, err := ssh.Files()
		if err != nil {
			return err
		}
		return files.Remove(w.Installation.ProgramPath + replacedSuffix)
	})
	if err != nil {
		run.Log.Warn("the replaced program stays on the node", "error", err)
	}
}
