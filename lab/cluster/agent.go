package cluster

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"

	"gantry/lab/apierror"
	"gantry/lab/machine"
)

// Agent runs one guest-agent command and returns what is under "return".
func (g *Guest) Agent(ctx context.Context, command string, arguments any) (json.RawMessage, error) {
	process := g.Process()
	if process == nil {
		return nil, apierror.Die("VM %d is not running", g.VMID)
	}
	if !g.Config().Values.AgentEnabled() {
		return nil, apierror.Die("No QEMU guest agent configured")
	}
	answer, err := process.Agent(ctx, command, arguments)
	switch {
	case err == nil:
		return answer, nil
	case errors.Is(err, machine.ErrNotRunning):
		return nil, apierror.Die("VM %d is not running", g.VMID)
	case errors.Is(err, machine.ErrNoAgent), errors.Is(err, context.DeadlineExceeded):
		return nil, apierror.Die("QEMU guest agent is not running")
	}
	return nil, apierror.Die("Agent error: %s", err)
}

// PasswordArguments are those of guest-set-user-password.
func PasswordArguments(user, password string, crypted bool) map[string]any {
	return map[string]any{"username": user, "password": base64.StdEncoding.EncodeToString([]byte(password)), "crypted": crypted}
}
