package cluster

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gantry/lab/apierror"
	"gantry/lab/guestconf"
	"gantry/lab/worker"
)

// QMAsks tells whether the command reads something from its standard input.
func QMAsks(args []string) bool { return len(args) > 1 && args[0] == "guest" && args[1] == "passwd" }

// QM runs one command of the node's qm tool as root@pam; out gets its lines. The error is what the tool prints before it fails.
func (c *Cluster) QM(ctx context.Context, node string, args []string, input string, out func(string)) error {
	if !c.HasNode(node) {
		return fmt.Errorf("no such cluster node '%s'", node)
	}
	if len(args) == 0 {
		return fmt.Errorf("ERROR: no command specified\nUSAGE: qm <COMMAND> [ARGS] [OPTIONS]")
	}
	options, words := qmOptions(args[1:])
	name := args[0]
	if (name == "guest" || name == "disk") && len(words) > 0 {
		name, words = name+" "+words[0], words[1:]
	}
	vmid := 0
	if len(words) > 0 {
		number, err := strconv.Atoi(words[0])
		if err != nil || number < 100 || number > 999_999_999 {
			return fmt.Errorf("400 Parameter verification failed.\nvmid: invalid format - value does not look like a valid VM ID")
		}
		vmid = number
	}
	switch {
	case (name == "importdisk" || name == "disk import") && len(words) == 3:
		return c.qmImport(ctx, node, vmid, words[1], words[2], options["format"], out)
	case name == "unlock" && len(words) == 1:
		return c.qmUnlock(ctx, node, vmid)
	case name == "status" && len(words) == 1:
		return c.qmStatus(node, vmid, out)
	case name == "guest passwd" && len(words) == 2:
		return c.qmPassword(ctx, node, vmid, words[1], input, options["crypted"] == "1")
	}
	return fmt.Errorf("ERROR: unknown command 'qm %s'", strings.Join(args, " "))
}

// qmOptions separates --name value and --name=value from the words.
func qmOptions(args []string) (options map[string]string, words []string) {
	options = map[string]string{}
	for i := 0; i < len(args); i++ {
		name, isOption := strings.CutPrefix(args[i], "-")
		if !isOption {
			words = append(words, args[i])
			continue
		}
		name = strings.TrimPrefix(name, "-")
		if key, value, found := strings.Cut(name, "="); found {
			options[key] = value
		} else if i+1 < len(args) {
			i++
			options[name] = args[i]
		}
	}
	return options, words
}

func (c *Cluster) qmImport(ctx context.Context, node string, vmid int, source, id, format string, out func(string)) error {
	guest, err := c.Guest(node, vmid)
	if err != nil {
		return err
	}
	definition, err := c.StorageOnNode(id, node)
	if err != nil {
		return err
	}
	if !definition.Has("images") {
		return fmt.Errorf("storage '%s' does not support content type 'images'", id)
	}
	// The import is a task like any other, so that its effect and its faults are the same.
	problem := make(chan error, 1)
	task := c.Tasks.Start(node, "qmimport", strconv.Itoa(vmid), "root@pam", func(ctx context.Context, task *worker.Task) error {
		err := c.importUnused(ctx, task, guest, source, target{definition: definition, vmid: vmid, format: format})
		problem <- err
		return err
	})
	stop := context.AfterFunc(ctx, task.Interrupt)
	defer stop()
	return follow(task, problem, out)
}

// follow prints a task's lines as they come and returns its error.
func follow(task *worker.Task, problem <-chan error, out func(string)) error {
	printed := 0
	show := func() worker.State {
		state := task.State()
		for _, line := range state.Log[printed:] {
			if !strings.HasPrefix(line, "TASK ") {
				out(line)
			}
		}
		printed = len(state.Log)
		return state
	}
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for running := true; running; {
		select {
		case <-task.Done():
			running = false
		case <-ticker.C:
			show()
		}
	}
	state := show()
	select {
	case err := <-problem:
		if err != nil {
			return err
		}
	default:
	}
	if state.Exit != "OK" && !strings.HasPrefix(state.Exit, "WARNINGS") {
		return errors.New(state.Exit)
	}
	return nil
}

func (c *Cluster) importUnused(ctx context.Context, task *worker.Task, guest *Guest, source string, to target) error {
	release, err := c.flock(ctx, task, guest.VMID, 0)
	if err != nil {
		return err
	}
	defer release()
	if err := guest.CheckLock(); err != nil {
		return err
	}
	if err := task.Step(ctx, "disk"); err != nil {
		return err
	}
	task.Logf("importing disk '%s' to VM %d ...", source, guest.VMID)
	volid, err := c.importDisk(ctx, task, guest, source, to)
	if err != nil {
		return err
	}
	key := ""
	err = guest.Edit(func(conf *guestconf.Config) error {
		key = conf.Values.AddUnused(volid)
		return nil
	})
	if err != nil {
		return err
	}
	task.Logf("Successfully imported disk as '%s:%s'", key, volid)
	return nil
}

func (c *Cluster) qmUnlock(ctx context.Context, node string, vmid int) error {
	guest, err := c.Guest(node, vmid)
	if err != nil {
		return err
	}
	return c.Locked(ctx, vmid, func() error {
		return guest.Edit(func(conf *guestconf.Config) error {
			delete(conf.Values, "lock")
			return nil
		})
	})
}

func (c *Cluster) qmStatus(node string, vmid int, out func(string)) error {
	guest, err := c.Guest(node, vmid)
	if err != nil {
		return err
	}
	if guest.Running() {
		out("status: running")
	} else {
		out("status: stopped")
	}
	return nil
}

func (c *Cluster) qmPassword(ctx context.Context, node string, vmid int, user, input string, crypted bool) error {
	// The real command asks twice; one line is taken for both.
	password, _, _ := strings.Cut(input, "\n")
	if len(password) < 5 {
		return apierror.Die("400 Parameter verification failed.\npassword: value must be at least 5 characters long")
	}
	guest, err := c.Guest(node, vmid)
	if err != nil {
		return err
	}
	_, err = guest.Agent(ctx, "guest-set-user-password", PasswordArguments(user, password, crypted))
	return err
}
