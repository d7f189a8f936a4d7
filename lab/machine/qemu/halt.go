package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"gantry/lab/machine"
)

// StopGuests ends every guest that this backend watches, for a lab that is put away as a whole. The next Attach of each of them
// returns machine.ErrHalted.
func (b *Backend) StopGuests(ctx context.Context) error {
	b.mu.Lock()
	guests := make([]*Process, 0, len(b.guests))
	for _, guest := range b.guests {
		guests = append(guests, guest)
	}
	b.mu.Unlock()
	var problems []error
	for _, guest := range guests {
		if err := guest.halt(ctx); err != nil && !errors.Is(err, machine.ErrNotRunning) {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// halt ends the guest and notes in its run directory why.
func (p *Process) halt(ctx context.Context) error {
	if !p.running() {
		return machine.ErrNotRunning
	}
	if err := p.Kill(ctx); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(p.runDir, haltedFile), nil, 0o600); err != nil {
		return fmt.Errorf("note that guest %d was stopped: %w", p.spec.VMID, err)
	}
	return nil
}

// wasHalted tells whether StopGuests stopped the guest of a run directory, and forgets it.
func wasHalted(runDir string) (bool, error) {
	err := os.Remove(filepath.Join(runDir, haltedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("forget that the guest was stopped: %w", err)
	}
	return true, nil
}
