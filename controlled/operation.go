package controlled

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"

	wire "gantry/internal/controlledclient"
)

var operationIDPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// unborn marks folders of operations whose order was not fully written; no id may contain a dot.
const unborn = ".unborn-"

// operations starts durable operations and reads how they stand. It holds no state but the folders in dir: what a
// restarted daemon says of an operation is what the first one would have said.
type operations struct {
	log        *slog.Logger
	dir        string
	supervisor []string
	limit      time.Duration
	retention  time.Duration
	maxRunning int

	mu sync.Mutex // one begin or prune at a time
}

func (o *operations) routes(router gin.IRoutes) {
	router.GET("/operations/:id", o.show)
}

func newOperations(config Config, log *slog.Logger) (*operations, error) {
	o := &operations{
		log: log, dir: filepath.Join(config.DataDir, "operations"), supervisor: config.SupervisorCommand,
		limit: config.OperationDeadline, retention: config.OperationRetention, maxRunning: config.MaxOperations,
	}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return nil, err
	}
	return o, o.recover()
}

// recover starts the operations that an earlier daemon accepted but died before starting.
func (o *operations) recover() error {
	entries, err := os.ReadDir(o.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		dir := filepath.Join(o.dir, entry.Name())
		if strings.HasPrefix(entry.Name(), unborn) {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			continue
		}
		operation, err := o.read(entry.Name())
		if err != nil {
			o.log.Error("operation is unreadable", "operation", entry.Name(), "error", err)
			continue
		}
		o.log.Info("operation found", "operation", operation.ID, "state", operation.State)
		if operation.State == wire.OperationRunning && !exists(filepath.Join(dir, claimFile)) {
			if err := o.supervise(dir); err != nil {
				o.giveUp(dir, err)
			}
		}
	}
	return nil
}

func (o *operations) show(c *gin.Context) {
	id := c.Param("id")
	if !operationIDPattern.MatchString(id) {
		fail(c, notFound("operation not found"))
		return
	}
	operation, err := o.read(id)
	if errors.Is(err, fs.ErrNotExist) {
		err = notFound("operation not found")
	}
	if err != nil {
		fail(c, err)
		return
	}
	succeed(c, operation)
}

// begin accepts an operation: from its return on it runs exactly once, whatever happens to the daemon. An id that is
// known with the same request is the same operation; with another request it is a conflict.
func (o *operations) begin(id string, order operationOrder) (wire.Operation, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if id == "" {
		id = rand.Text()
	}
	dir := filepath.Join(o.dir, id)
	var known operationOrder
	err := readJSON(filepath.Join(dir, orderFile), &known)
	if err == nil {
		if known.Kind != order.Kind || !slices.Equal(known.Request, order.Request) {
			return wire.Operation{}, refused(wire.ReasonConflict, "operation: %s was given to other parameters", id)
		}
		return o.read(id)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return wire.Operation{}, fmt.Errorf("read operation: %w", err)
	}
	running, err := o.running()
	if err != nil {
		return wire.Operation{}, fmt.Errorf("count running operations: %w", err)
	}
	if running >= o.maxRunning {
		return wire.Operation{}, refused(wire.ReasonBusy, "%d operations are running", running)
	}
	order.Limit, order.Created = o.limit, time.Now()
	if err := o.record(dir, order); err != nil {
		return wire.Operation{}, fmt.Errorf("record operation: %w", err)
	}
	if err := o.supervise(dir); err != nil {
		// Nothing was started: take the record back, so that the caller's error is the truth.
		return wire.Operation{}, errors.Join(err, os.RemoveAll(dir))
	}
	return wire.Operation{ID: id, State: wire.OperationRunning}, nil
}

// record makes dir appear with its order inside, or not at all.
func (o *operations) record(dir string, order operationOrder) error {
	temporary, err := os.MkdirTemp(o.dir, unborn+"*")
	if err != nil {
		return err
	}
	if err := writeJSONAtomically(filepath.Join(temporary, orderFile), order); err != nil {
		return errors.Join(err, os.RemoveAll(temporary))
	}
	if err := os.Rename(temporary, dir); err != nil {
		return errors.Join(err, os.RemoveAll(temporary))
	}
	return syncDir(o.dir)
}

// supervise starts the process that runs the operation, in a session of its own.
func (o *operations) supervise(dir string) error {
	log, err := os.OpenFile(filepath.Join(dir, "supervisor.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start supervisor: %w", err)
	}
	defer log.Close()
	command := exec.Command(o.supervisor[0], append(slices.Clone(o.supervisor[1:]), dir)...)
	command.Stderr = log
	command.Env = commandEnvironment()
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return fmt.Errorf("start supervisor: %w", err)
	}
	go func() {
		if err := command.Wait(); err != nil {
			o.giveUp(dir, fmt.Errorf("supervisor failed: %w", err))
		}
	}()
	return nil
}

// giveUp ends an operation whose supervisor did not get as far as claiming it; one that it had claimed stays as it is.
func (o *operations) giveUp(dir string, cause error) {
	o.log.Error("operation's supervisor is gone", "operation", filepath.Base(dir), "error", cause)
	err := once(dir, func(*os.File) operationResult {
		return operationResult{ExitCode: -1, Error: cause.Error(), Ended: time.Now()}
	})
	if err != nil {
		o.log.Error("operation could not be ended", "operation", filepath.Base(dir), "error", err)
	}
}

// prune removes operations that ended longer ago than the retention.
func (o *operations) prune(now time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	entries, err := os.ReadDir(o.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		dir := filepath.Join(o.dir, entry.Name())
		var order operationOrder
		if err := readJSON(filepath.Join(dir, orderFile), &order); err != nil {
			o.log.Error("operation is unreadable", "operation", entry.Name(), "error", err)
			continue
		}
		operation, err := o.read(entry.Name())
		if err != nil {
			o.log.Error("operation is unreadable", "operation", entry.Name(), "error", err)
			continue
		}
		// No command outlives its limit, so created + limit is the latest possible end.
		if operation.State == wire.OperationRunning || now.Sub(order.Created.Add(order.Limit)) < o.retention {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}
