package api

import (
	"encoding/base64"
	"encoding/json"

	"gantry/lab/apierror"
	"gantry/lab/cluster"
)

const agentPath = " /nodes/{node}/qemu/{vmid}/agent"

// agentCommands are the simple commands by verb: PVE's name is QGA's without "guest-".
var agentCommands = map[string][]string{
	"POST": {"fsfreeze-freeze", "fsfreeze-status", "fsfreeze-thaw", "fstrim", "ping", "shutdown", "suspend-disk", "suspend-hybrid", "suspend-ram"},
	"GET": {"get-fsinfo", "get-host-name", "get-memory-block-info", "get-memory-blocks", "get-osinfo", "get-time", "get-timezone", "get-users",
		"get-vcpus", "info", "network-get-interfaces"},
}

var agentRoutes = buildAgentRoutes()

func buildAgentRoutes() map[string]handler {
	routes := map[string]handler{
		"GET" + agentPath: func(*Request) (any, error) {
			return named("name", "exec", "exec-status", "file-read", "file-write", "fsfreeze-freeze", "fsfreeze-status", "fsfreeze-thaw", "fstrim",
				"get-fsinfo", "get-host-name", "get-memory-block-info", "get-memory-blocks", "get-osinfo", "get-time", "get-timezone", "get-users",
				"get-vcpus", "info", "network-get-interfaces", "ping", "set-user-password", "shutdown", "suspend-disk", "suspend-hybrid",
				"suspend-ram"), nil
		},
		"POST" + agentPath:                        func(r *Request) (any, error) { return agentSimple(r, r.Params.Str("command")) },
		"POST" + agentPath + "/exec":              agentExec,
		"GET" + agentPath + "/exec-status":        agentExecStatus,
		"GET" + agentPath + "/file-read":          agentFileRead,
		"POST" + agentPath + "/file-write":        agentFileWrite,
		"POST" + agentPath + "/set-user-password": agentPassword,
	}
	for verb, names := range agentCommands {
		for _, name := range names {
			routes[verb+agentPath+"/"+name] = func(r *Request) (any, error) { return agentSimple(r, name) }
		}
	}
	return routes
}

// agent runs one command in the request's guest.
func (r *Request) agent(command string, arguments any) (json.RawMessage, error) {
	guest, err := r.Cluster.Guest(r.Node, r.VMID)
	if err != nil {
		return nil, err
	}
	return guest.Agent(r, command, arguments)
}

func agentSimple(r *Request, name string) (any, error) {
	answer, err := r.agent("guest-"+name, nil)
	if err != nil {
		return nil, err
	}
	return map[string]any{"result": answer}, nil
}

func agentExec(r *Request) (any, error) {
	command := r.Params.Strings("command")
	if len(command) == 0 {
		return nil, apierror.Param("command", "property is missing and it is not optional")
	}
	arguments := map[string]any{"path": command[0], "arg": command[1:], "capture-output": true}
	if r.Params.Has("input-data") {
		arguments["input-data"] = base64.StdEncoding.EncodeToString([]byte(r.Params.Str("input-data")))
	}
	answer, err := r.agent("guest-exec", arguments)
	if err != nil {
		return nil, err
	}
	var started struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal(answer, &started); err != nil {
		return nil, apierror.Die("Agent error: %s", err)
	}
	return map[string]any{"pid": started.PID}, nil
}

func agentExecStatus(r *Request) (any, error) {
	answer, err := r.agent("guest-exec-status", map[string]any{"pid": r.Params.Int("pid", 0)})
	if err != nil {
		return nil, err
	}
	var status map[string]any
	if err := json.Unmarshal(answer, &status); err != nil {
		return nil, apierror.Die("Agent error: %s", err)
	}
	for name, value := range status {
		switch typed := value.(type) {
		case bool:
			status[name] = flag(typed)
		case string:
			if raw, err := base64.StdEncoding.DecodeString(typed); err == nil && (name == "out-data" || name == "err-data") {
				status[name] = string(raw)
			}
		}
	}
	for _, stream := range []string{"out", "err"} {
		if _, printed := status[stream+"-data"]; printed && status[stream+"-truncated"] == nil {
			status[stream+"-truncated"] = 0
		}
	}
	return status, nil
}

// withFile opens a file in the guest, runs work on the handle and closes it.
func (r *Request) withFile(path, mode string, work func(handle int) error) error {
	answer, err := r.agent("guest-file-open", map[string]any{"path": path, "mode": mode})
	if err != nil {
		return err
	}
	var handle int
	if err := json.Unmarshal(answer, &handle); err != nil {
		return apierror.Die("Agent error: %s", err)
	}
	workErr := work(handle)
	if _, err := r.agent("guest-file-close", map[string]any{"handle": handle}); workErr == nil {
		workErr = err
	}
	return workErr
}

// readLimit is the most that file-read returns.
const readLimit = 16 << 20

func agentFileRead(r *Request) (any, error) {
	var content []byte
	truncated := false
	err := r.withFile(r.Params.Str("file"), "r", func(handle int) error {
		for {
			answer, err := r.agent("guest-file-read", map[string]any{"handle": handle, "count": 1 << 20})
			if err != nil {
				return err
			}
			var part struct {
				Data  string `json:"buf-b64"`
				Count int    `json:"count"`
				EOF   bool   `json:"eof"`
			}
			if err := json.Unmarshal(answer, &part); err != nil {
				return apierror.Die("Agent error: %s", err)
			}
			raw, err := base64.StdEncoding.DecodeString(part.Data)
			if err != nil {
				return apierror.Die("Agent error: %s", err)
			}
			content = append(content, raw...)
			truncated = len(content) >= readLimit
			if part.EOF || part.Count == 0 || truncated {
				return nil
			}
		}
	})
	if err != nil {
		return nil, err
	}
	row := map[string]any{"content": string(content), "bytes-read": len(content)}
	if truncated {
		row["truncated"] = 1
	}
	return row, nil
}

func agentFileWrite(r *Request) (any, error) {
	content := r.Params.Str("content")
	if r.Params.Str("encode") != "0" {
		content = base64.StdEncoding.EncodeToString([]byte(content))
	}
	return nil, r.withFile(r.Params.Str("file"), "wb", func(handle int) error {
		_, err := r.agent("guest-file-write", map[string]any{"handle": handle, "buf-b64": content})
		return err
	})
}

func agentPassword(r *Request) (any, error) {
	answer, err := r.agent("guest-set-user-password", cluster.PasswordArguments(r.Params.Str("username"), r.Params.Str("password"), r.Params.Flag("crypted")))
	if err != nil {
		return nil, err
	}
	return map[string]any{"result": answer}, nil
}
