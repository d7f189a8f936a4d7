package broker

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// ProcessorDigest stands for what CPU and tables a guest is shown: two guests with the same one are shown the same. A model that was
// edited since shows as another digest than the one that VMSpec.Processor keeps, and is written to the guest once, at its next start.
// "" stands for a guest that is shown nothing but its CPU type, so that guests from before there was a digest are left alone.
func ProcessorDigest(spec VMSpec, hardware GuestHardware) (string, error) {
	if hardware.CPU == nil && len(hardware.SMBIOS) == 0 && !spec.Devirtualization {
		return "", nil
	}
	text, err := json.Marshal(struct {
		CPUType  string
		Hidden   bool
		Hardware GuestHardware
	}{spec.CPUType, spec.Devirtualization, hardware})
	if err != nil {
		return "", Wrap(err, "describe the processor")
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), nil
}
