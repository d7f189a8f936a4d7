package qemu

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"gantry/lab/machine"
)

// onHost gives the NICs of a guest the names that they have on this machine: all node bridges are one host bridge, and a tap's
// name begins with a word of the lab's own, so that several labs on one machine do not meet. It also returns the way back.
func (b *Backend) onHost(spec machine.Spec) (machine.Spec, map[string]string) {
	if b.hostBridge == "" {
		return spec, nil
	}
	// With 4 letters in front the longest name, 999999999i0, still fits into IFNAMSIZ.
	sum := sha256.Sum256([]byte(b.root))
	prefix := "g" + hex.EncodeToString(sum[:])[:3]
	names := map[string]string{}
	nics := make([]machine.NIC, len(spec.NICs))
	for i, nic := range spec.NICs {
		tap := prefix + strings.TrimPrefix(nic.Tap, "tap")
		names[tap] = nic.Tap
		nic.Tap, nic.Bridge = tap, b.hostBridge
		nics[i] = nic
	}
	spec.NICs = nics
	return spec, names
}

// nodeTap is the name that the node knows a tap of this machine by.
func (p *Process) nodeTap(tap string) string {
	if name, renamed := p.tapNames[tap]; renamed {
		return name
	}
	return tap
}
