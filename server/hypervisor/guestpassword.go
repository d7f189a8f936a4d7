package hypervisor

import (
	"context"
	"strings"

	"gantry/server/broker"
)

// PasswordSetter is a Driver that can set a password inside a guest that runs, through its guest agent. It is apart from Driver: a
// hypervisor without such a channel has nothing to answer.
type PasswordSetter interface {
	// SetGuestPassword returns when the guest has the password. Conflict with ReasonVMNotRunning when the guest is off; another error
	// when its agent is not there, does not answer or refuses. Setting the same password twice does no harm.
	SetGuestPassword(ctx context.Context, ref GuestRef, user, password string) error
}

// Longest password that every way to a guest takes.
const maxGuestPassword = 1024

// CheckGuestPassword checks the arguments of SetGuestPassword. The password is in none of its errors.
func CheckGuestPassword(user, password string) error {
	if !userPattern.MatchString(user) {
		return broker.InvalidField("user", "%q is not a user name", user)
	}
	if password == "" || len(password) > maxGuestPassword || hasControl(password) || strings.TrimSpace(password) == "" {
		return broker.InvalidField("password", "must have 1 to %d printable characters", maxGuestPassword)
	}
	return nil
}
