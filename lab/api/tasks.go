package api

import (
	"slices"
	"strconv"
	"strings"

	"gantry/lab/apierror"
	"gantry/lab/schema"
	"gantry/lab/worker"
)

const taskPath = " /nodes/{node}/tasks/{upid}"

var taskRoutes = map[string]handler{
	"GET /nodes/{node}/tasks":    listTasks,
	"GET" + taskPath:             taskIndex,
	"DELETE" + taskPath:          stopTask,
	"GET" + taskPath + "/status": taskStatus,
	"GET" + taskPath + "/log":    taskLog,
	"GET /cluster/tasks":         clusterTasks,
}

// task finds the task of the request and checks that it is the caller's own, or that the caller may see others'. The task may be
// nil: the id is well-formed, but nothing is known of it.
func (r *Request) task(privilege string) (*worker.Task, worker.UPID, error) {
	id, err := worker.ParseUPID(r.Params.Str("upid"))
	if err != nil {
		return nil, id, apierror.Param("upid", "%s", err)
	}
	if !r.owns(id) {
		if err := r.need("/nodes/"+r.Node, privilege); err != nil {
			return nil, id, err
		}
	}
	task := r.Cluster.Tasks.Find(r.Params.Str("upid"))
	return task, id, nil
}

// owns tells whether the task is the caller's: a token sees its own tasks, a user also those of the own tokens.
func (r *Request) owns(id worker.UPID) bool {
	owner, _ := id.Owner()
	return id.User == r.User || (!r.token && owner == r.User)
}

func taskIndex(r *Request) (any, error) { return named("name", "log", "status"), nil }

func stopTask(r *Request) (any, error) {
	task, _, err := r.task("Sys.Modify")
	if err != nil || task == nil {
		return nil, err
	}
	task.Interrupt()
	return nil, nil
}

func taskStatus(r *Request) (any, error) {
	task, _, err := r.task("Sys.Audit")
	if err != nil {
		return nil, err
	}
	if task == nil {
		return nil, apierror.Param("upid", "no such task")
	}
	row := taskRow(task.UPID)
	state := task.State()
	row["status"] = "running"
	if !state.Running {
		row["status"], row["exitstatus"] = "stopped", state.Exit
	}
	return row, nil
}

func taskRow(id worker.UPID) map[string]any {
	user, token := id.Owner()
	row := map[string]any{"upid": id.String(), "node": id.Node, "pid": id.PID, "pstart": id.PStart, "starttime": id.StartTime,
		"type": id.Type, "id": id.ID, "user": user}
	if token != "" {
		row["tokenid"] = token
	}
	return row
}

func taskLog(r *Request) (any, error) {
	task, _, err := r.task("Sys.Audit")
	if err != nil {
		return nil, err
	}
	if task == nil {
		missing := map[string]any{"n": 1, "t": "unable to open file - No such file or directory"}
		if r.Cluster.Major == 8 {
			return paged{Data: missing, Total: 1}, nil // an object, not a list
		}
		return paged{Data: []any{missing}, Total: 1}, nil
	}
	lines := task.State().Log
	if r.Params.Flag("download") {
		return text{Body: strings.Join(lines, "\n") + "\n"}, nil
	}
	start, limit := r.Params.Int("start", 0), r.Params.Int("limit", 50)
	if limit == 0 {
		limit = len(lines)
	}
	rows := []map[string]any{}
	for i := start; i < len(lines) && i < start+limit; i++ {
		rows = append(rows, map[string]any{"n": i + 1, "t": lines[i]})
	}
	return paged{Data: rows, Total: len(lines)}, nil
}

func listTasks(r *Request) (any, error) {
	audit := r.has("/nodes/"+r.Node, "Sys.Audit")
	source := r.Params.Str("source")
	var rows []map[string]any
	for _, task := range r.Cluster.Tasks.All(r.Node) {
		state := task.State()
		if !audit && !r.owns(task.UPID) {
			continue
		}
		if (state.Running && source != "active" && source != "all") || (!state.Running && source == "active") {
			continue
		}
		if !taskMatches(r.Params, task.UPID, state) {
			continue
		}
		row := taskRow(task.UPID)
		if state.Running {
			// Active tasks are listed as they are in the file of active workers.
			row["user"], row["status"], row["saved"] = task.UPID.User, "RUNNING", "0"
			delete(row, "tokenid")
		} else {
			row["status"], row["endtime"] = state.Exit, state.End
		}
		rows = append(rows, row)
	}
	total := len(rows)
	start, limit := r.Params.Int("start", 0), r.Params.Int("limit", 50)
	rows = rows[min(start, total):min(start+limit, total)]
	if total == 0 {
		return []any{}, nil
	}
	return paged{Data: rows, Total: total}, nil
}

func taskMatches(params schema.Params, id worker.UPID, state worker.State) bool {
	if vmid := params.Str("vmid"); vmid != "" && id.ID != vmid && !strings.HasPrefix(id.ID, vmid+"@") {
		return false
	}
	if kind := params.Str("typefilter"); kind != "" && id.Type != kind {
		return false
	}
	if user := params.Str("userfilter"); user != "" && !strings.Contains(id.User, user) {
		return false
	}
	since, _ := strconv.ParseInt(params.Str("since"), 10, 64)
	until, err := strconv.ParseInt(params.Str("until"), 10, 64)
	if id.StartTime < since || (err == nil && params.Has("until") && id.StartTime > until) {
		return false
	}
	kind := statusKind(state)
	if params.Flag("errors") && kind != "error" {
		return false
	}
	if wanted := schema.SplitList(params.Str("statusfilter")); len(wanted) > 0 && !slices.Contains(wanted, kind) {
		return false
	}
	return true
}

func statusKind(state worker.State) string {
	switch {
	case state.Running:
		return "unknown"
	case state.Exit == "OK":
		return "ok"
	case strings.HasPrefix(state.Exit, "WARNINGS: "):
		return "warning"
	}
	return "error"
}

func clusterTasks(r *Request) (any, error) {
	rows := []map[string]any{}
	for _, task := range r.Cluster.Tasks.All("") {
		if !r.has("/nodes/"+task.UPID.Node, "Sys.Audit") && !r.owns(task.UPID) {
			continue
		}
		row := taskRow(task.UPID)
		delete(row, "pstart")
		if state := task.State(); !state.Running {
			row["status"], row["endtime"], row["saved"] = state.Exit, state.End, "1"
			delete(row, "pid")
		}
		rows = append(rows, row)
		if len(rows) == 25*len(r.Cluster.Nodes) {
			break
		}
	}
	return rows, nil
}
