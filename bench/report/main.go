// Command report runs the benchmarks that bench/sections.yaml lists and writes docs/PERFORMANCE.md, each figure with the
// command that gave it:
//
//	go run ./bench/report [--only REGEXP] [--sections FILE] [--out FILE]
//
// With --only, sections whose names do not match keep what an earlier run wrote.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"gantry/internal/version"
)

func main() {
	only := flag.String("only", ".", "measure the sections whose name matches this regular expression")
	sections := flag.String("sections", "bench/sections.yaml", "list of sections")
	out := flag.String("out", "docs/PERFORMANCE.md", "file to write")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	machineState, err := newConditions()
	if err == nil {
		err = report(ctx, *sections, *out, *only, machineState.await, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/report:", err)
		os.Exit(1)
	}
}

// report measures and rewrites the file. Before each section it waits for await, which says what else the machine does. After a failed
// section the file stays as it was.
func report(ctx context.Context, sectionsFile, out, only string, await func(context.Context) (string, error), progress io.Writer) error {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	sections, err := readSections(sectionsFile)
	if err != nil {
		return err
	}
	earlier, err := readMeasured(out)
	if err != nil {
		return err
	}
	where := machine() + ", " + build()
	measured := map[string]string{}
	ran := 0
	for _, each := range sections {
		if !pattern.MatchString(each.Name) {
			measured[each.Name] = earlier[each.Name]
			continue
		}
		surroundings, err := await(ctx)
		if err != nil {
			return fmt.Errorf("look at the machine: %w", err)
		}
		fmt.Fprintf(progress, "bench %s: %s\n", each.Name, each.commandLine())
		output, err := each.run(ctx, progress)
		if err != nil {
			return fmt.Errorf("section %s: %w", each.Name, err)
		}
		measured[each.Name] = each.render(output, time.Now().UTC().Format(time.DateOnly)+" on "+where+". "+surroundings)
		ran++
	}
	if ran == 0 {
		return fmt.Errorf("no section matches %q", only)
	}
	return write(out, sections, measured)
}

// run gives the command's standard output; its standard error is progress.
func (s section) run(ctx context.Context, progress io.Writer) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.Timeout))
	defer cancel()
	command := exec.CommandContext(ctx, s.Command[0], s.Command[1:]...)
	command.Stderr = progress
	// A group of its own, so that what `go run` started ends with it.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGTERM) }
	command.WaitDelay = 10 * time.Second
	output, err := command.Output()
	if ctx.Err() != nil {
		return "", fmt.Errorf("%s: ended after %s: %w", s.commandLine(), time.Duration(s.Timeout), ctx.Err())
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.commandLine(), err)
	}
	if strings.TrimSpace(string(output)) == "" {
		return "", fmt.Errorf("%s: printed no figures", s.commandLine())
	}
	return string(output), nil
}

func build() string {
	commit, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil { // no clone
		return version.Current().Go
	}
	return version.Current().Go + ", commit " + strings.TrimSpace(string(commit))
}
