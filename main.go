// Gantry is a broker between billing systems and hypervisors. This one binary holds its programs; see README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"gantry/internal/config"
)

// Exit statuses.
const (
	exitFailed = 1
	exitUsage  = 2 // the command line or the settings are wrong; nothing was started
	exitForced = 130
)

// commandLine is what `gantry --help` shows.
type commandLine struct {
	Server       serverCommand       `cmd:"" help:"The broker: API, panel and tasks."`
	Controlled   controlledCommand   `cmd:"" help:"The daemon on a hypervisor node."`
	Vncproxy     vncproxyCommand     `cmd:"" help:"The console proxy between browsers and screens."`
	Lab          labCommand          `cmd:"" help:"A cluster that answers like Proxmox VE, for demo, tests and benchmarks."`
	Admin        adminCommand        `cmd:"" help:"Repair an installation from the server's machine."`
	Demo         demoCommand         `cmd:"" help:"Everything at once on embedded defaults, with one machine ordered."`
	DemoLibvirtd demoLibvirtdCommand `cmd:"" hidden:""`
	Version      versionCommand      `cmd:"" help:"Show which build this is."`
}

// process is what commands get from the operating system.
type process struct {
	ctx                    context.Context // ends at the first SIGINT or SIGTERM
	arguments, environment []string
	stdout, stderr         io.Writer
}

// exitStatus ends the program with a status, without a message.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func main() {
	ctx := untilSignal(os.Stderr)
	os.Exit(run(&process{ctx: ctx, arguments: os.Args[1:], environment: os.Environ(), stdout: os.Stdout, stderr: os.Stderr}, os.Args[1:]))
}

// run carries out one command line and gives the exit status.
func run(p *process, arguments []string) int {
	line := &commandLine{}
	parser, err := kong.New(line,
		kong.Name("gantry"),
		kong.Description("Gantry turns orders into running virtual machines, with the screen in the browser."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.Writers(p.stdout, p.stderr))
	if err != nil {
		return report(p, "gantry", err, exitFailed)
	}
	if len(arguments) == 0 {
		arguments = []string{"--help"}
	}
	command, err := parser.Parse(arguments)
	if err != nil {
		return report(p, "gantry", err, exitUsage)
	}
	name := "gantry " + strings.Fields(command.Command())[0]
	err = command.Run(p, line)
	var status exitStatus
	var problems *config.Problems
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &problems):
		return report(p, name, err, exitUsage)
	}
	return report(p, name, err, exitFailed)
}

// report writes every problem as a line of its own.
func report(p *process, name string, err error, status int) int {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(p.stderr, "%s: %s\n", name, strings.TrimRight(line, "\n"))
	}
	return status
}

// sameRequest is how long after the first signal further ones are taken for the same wish: timeout(1) and process managers
// signal a program by itself and once more with its group.
const sameRequest = time.Second

// untilSignal gives a context that the first SIGINT or SIGTERM ends. A later one ends the process at once, for a stop that
// takes too long.
func untilSignal(stderr io.Writer) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		first := time.Now()
		cancel()
		for range signals {
			if time.Since(first) >= sameRequest {
				fmt.Fprintln(stderr, "gantry: stopped at once, by a second signal")
				os.Exit(exitForced)
			}
		}
	}()
	return ctx
}
