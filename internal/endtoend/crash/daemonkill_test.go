package crash

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gantry/lab/fault"
	"gantry/server/broker"
	"gantry/server/task"
)

// ordersByDaemon need the daemon on a node whose storages take no images by the API.
func ordersByDaemon() []order {
	some := ordersOf(broker.CreateKind, broker.ReinstallKind, broker.DownloadImageKind, broker.DeleteImageKind)
	for number := range some {
		if some[number].kind == broker.DeleteImageKind {
			some[number].again = nil // the daemon removes the file, the hypervisor is not asked
		}
	}
	return some
}

// The daemon is killed at each border of the orders that it takes part in, and started again: each image is fetched and each disk imported once.
func TestDaemonIsKilledAtEachBorder(t *testing.T) {
	t.Parallel()
	i := install(t, kind{compares: true})
	for _, each := range ordersByDaemon() {
		t.Run(each.name, func(t *testing.T) {
			for direction, undo := range map[string]bool{"do": false, "undo": true} {
				if undo && (each.kind == broker.DownloadImageKind || each.kind == broker.DeleteImageKind) {
					continue // nothing of the hypervisor's can fail
				}
				imports := 1
				if each.kind == broker.DownloadImageKind || each.kind == broker.DeleteImageKind {
					imports = 0
				}
				usual, places := i.usual(t, each, undo)
				for _, at := range places {
					if at.Undo != undo {
						continue
					}
					t.Run(direction+"/"+at.String(), func(t *testing.T) {
						var before int
						disturb, done := onceAt(at, func(k knock) {
							i.daemon.kill(t)
							k.letGo()
							i.restartDaemon(t)
						})
						ended, asked, _ := i.carryOut(t, each, trial{undo: undo, disturb: disturb, arrange: func() { before = i.imported(t) }})
						if !*done || ended.State != i.end(undo) {
							t.Errorf("killed: %t; the task is %s (%s), should be %s", *done, ended.State, ended.Error, i.end(undo))
						}
						if now := i.imported(t) - before; now != imports || !slices.Equal(asked, usual) {
							t.Errorf("%d imports instead of %d; the hypervisor was asked for\n%q\ninstead of\n%q", now, imports, asked, usual)
						}
					})
				}
			}
		})
	}
}

func (i *installation) restartDaemon(t *testing.T) {
	t.Helper()
	i.daemon.start(t)
	i.daemon.greeted(t, &daemonHello{})
}

// imported counts the disk imports on the node.
func (i *installation) imported(t *testing.T) int {
	t.Helper()
	var rows []struct{ UPID string }
	check(t, i.hypervisor.pve("GET", "/nodes/"+nodeName+"/tasks?source=all&limit=5000&typefilter=qmimport", nil, &rows))
	return len(rows)
}

// The daemon dies in the middle of an import; so does everything on the node.
func TestImportIsCutOff(t *testing.T) {
	t.Parallel()
	i := install(t, kind{})
	for _, row := range []struct {
		order, step string
		reboot      bool
		end         broker.TaskState
	}{
		{"create", "import-disk", false, broker.TaskDone},
		{"create", "import-disk", true, broker.TaskUndone},
		{"reinstall", "replace-disks", false, broker.TaskDone},
		{"reinstall", "replace-disks", true, broker.TaskUndone},
	} {
		name := row.order + "/the daemon dies"
		if row.reboot {
			name = row.order + "/the node dies"
		}
		t.Run(name, func(t *testing.T) {
			each := orders[slices.IndexFunc(orders, func(each order) bool { return each.name == row.order })]
			var before int
			disturb, done := onceAt(place{Step: row.step, Moment: task.AfterCommit, Time: 2}, func(k knock) {
				eventually(t, "the import runs", func() error {
					if i.imported(t) == before {
						return errors.New("it does not")
					}
					return nil
				})
				i.cutImport(t, k, row.reboot)
			})
			ended, _, places := i.carryOut(t, each, trial{disturb: disturb, arrange: func() {
				before = i.imported(t)
				check(t, i.faults.control("POST", "/rules/task", fault.TaskRule{Type: "qmimport", Step: "disk", Delay: time.Second}, nil))
			}})
			if !*done || ended.State != row.end || i.imported(t)-before != 1 {
				t.Errorf("killed: %t; %d imports; the task is %s (%s), should be %s: %v", *done, i.imported(t)-before, ended.State, ended.Error, row.end, places)
				i.tell(t, ended)
			}
		})
	}
}

// cutImport kills the daemon, or all that runs on the node.
func (i *installation) cutImport(t *testing.T, k knock, everything bool) {
	t.Helper()
	i.daemon.kill(t)
	if everything {
		i.killSupervisors(t)
		i.lab.kill(t)
	}
	k.letGo()
	if everything {
		i.lab.start(t)
		i.lab.greeted(t, &labHello{})
	}
	i.restartDaemon(t)
}

// killSupervisors kills the processes that the daemon left to see its imports through, and their qm. All of them name this
// installation's folder.
func (i *installation) killSupervisors(t *testing.T) {
	t.Helper()
	entries, err := filepath.Glob("/proc/[0-9]*/cmdline")
	check(t, err)
	for _, entry := range entries {
		content, err := os.ReadFile(entry)
		if err != nil {
			continue // ended meanwhile
		}
		arguments := strings.Split(string(bytes.TrimRight(content, "\x00")), "\x00")
		if len(arguments) < 3 || !strings.HasPrefix(arguments[2], i.folder+"/") || (arguments[1] != asSupervisor && arguments[1] != asQM) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(entry)))
		check(t, err)
		process, err := os.FindProcess(pid)
		check(t, err)
		_ = process.Kill() // an error means that it is gone
	}
}

// A download by the daemon is cut off in the middle, with the daemon; it goes on where it was.
func TestDownloadIsCutOff(t *testing.T) {
	t.Parallel()
	i := install(t, kind{})
	content, half := image(2<<30), len(image(2<<30))/2
	gate := make(chan struct{})
	ranges := make(chan string, 100)
	i.images.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ranges <- r.Header.Get("Range")
		w.Header().Set("ETag", `"v1"`)
		if r.Header.Get("Range") != "" {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write(content[:half])
		_ = http.NewResponseController(w).Flush()
		select { // the rest never comes on this connection
		case <-gate:
		case <-r.Context().Done():
		}
	})
	defer close(gate)
	each := orders[slices.IndexFunc(orders, func(each order) bool { return each.name == "download" })]
	disturb, done := onceAt(place{Step: "fetch", Moment: task.AfterCommit, Time: 1}, func(k knock) {
		eventually(t, "half of the image is there", func() error { return i.partThere(half) })
		i.daemon.kill(t)
		k.letGo()
		i.restartDaemon(t)
	})
	ended, _, _ := i.carryOut(t, each, trial{disturb: disturb})
	first, second := <-ranges, <-ranges
	if !*done || ended.State != broker.TaskDone || first != "" || second != "bytes="+strconv.Itoa(half)+"-" {
		t.Errorf("killed: %t; the task is %s (%s); asked for ranges %q and %q", *done, ended.State, ended.Error, first, second)
	}
}

// partThere is nil when a part of the fresh image is in its folder.
func (i *installation) partThere(size int) error {
	parts, err := filepath.Glob(filepath.Join(i.imageFolder, fmt.Sprintf("*image-%d.qcow2*", i.counted)))
	if err != nil {
		return err
	}
	for _, part := range parts {
		if info, err := os.Stat(part); err == nil && info.Size() == int64(size) {
			return nil
		}
	}
	return fmt.Errorf("there is %q", parts)
}
