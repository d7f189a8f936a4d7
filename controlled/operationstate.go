package controlled

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	wire "gantry/internal/controlledclient"
)

// outputTail is how much of a command's output is looked at.
const outputTail = 16 << 10

// read tells how an operation stands, from its files alone.
func (o *operations) read(id string) (wire.Operation, error) {
	dir := filepath.Join(o.dir, id)
	var order operationOrder
	if err := readJSON(filepath.Join(dir, orderFile), &order); err != nil {
		return wire.Operation{}, err
	}
	// The order of these looks matters: a supervisor locks, claims, runs, writes the result and then lets the lock go. So
	// with the claim seen first, a free lock means the end, and the result is there unless the supervisor was killed.
	claimed := exists(filepath.Join(dir, claimFile))
	held, err := outputHeld(dir)
	if err != nil {
		return wire.Operation{}, err
	}
	var result operationResult
	err = readJSON(filepath.Join(dir, resultFile), &result)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return wire.Operation{}, err
	}
	ended := err == nil
	output, err := tail(filepath.Join(dir, outputFile))
	if err != nil {
		return wire.Operation{}, err
	}
	progress := parseImportOutput(output)
	operation := wire.Operation{ID: id, Percent: progress.percent, VolumeID: progress.volumeID, ConfigKey: progress.configKey, Output: output}
	switch {
	case ended:
		operation.ExitCode = &result.ExitCode
		operation.State = wire.OperationDone
		operation.Percent = 100
		if result.ExitCode != 0 {
			operation.Percent = progress.percent
			operation.State = wire.OperationFailed
			operation.Output = strings.TrimSpace(output + "\n" + result.Error)
		}
	case held || !claimed:
		operation.State = wire.OperationRunning
	case progress.volumeID != "":
		operation.State = wire.OperationDone // qm prints this line last, after all its work
	default:
		operation.State = wire.OperationLost
	}
	return operation, nil
}

// running counts the operations that have not ended. The caller holds o.mu.
func (o *operations) running() (int, error) {
	entries, err := os.ReadDir(o.dir)
	if err != nil {
		return 0, err
	}
	count := 0
	for _, entry := range entries {
		dir := filepath.Join(o.dir, entry.Name())
		if exists(filepath.Join(dir, resultFile)) {
			continue
		}
		claimed := exists(filepath.Join(dir, claimFile))
		held, err := outputHeld(dir)
		if err != nil {
			return 0, err
		}
		if held || !claimed {
			count++
		}
	}
	return count, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// tail returns the end of a file as valid text; a missing file is empty.
func tail(path string) (string, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(io.NewSectionReader(file, max(0, info.Size()-outputTail), outputTail))
	if err != nil {
		return "", err
	}
	return strings.ToValidUTF8(strings.TrimSpace(string(content)), "\uFFFD"), nil
}
