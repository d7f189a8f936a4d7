package memory

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"gantry/lab/machine"
)

// agent is the guest agent of a guest in memory. It knows enough for a driver: ping, names, addresses, files, commands that echo,
// and passwords.
type agent struct {
	mu      sync.Mutex
	files   map[string][]byte
	handles map[int]string
	next    int
	results map[int]map[string]any
}

// Agent answers one command.
func (p *process) Agent(_ context.Context, command string, arguments any) ([]byte, error) {
	if err := p.running(); err != nil {
		return nil, err
	}
	if !p.spec.Agent {
		return nil, machine.ErrNoAgent
	}
	if p.backend.options.Agent != nil {
		return p.backend.options.Agent(p.spec, command, arguments)
	}
	given := map[string]any{}
	if arguments != nil {
		text, err := json.Marshal(arguments)
		if err != nil {
			return nil, fmt.Errorf("encode the arguments: %w", err)
		}
		if err := json.Unmarshal(text, &given); err != nil {
			return nil, fmt.Errorf("read the arguments: %w", err)
		}
	}
	answer, err := p.agentAnswer(command, given)
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}

func (p *process) agentAnswer(command string, given map[string]any) (any, error) {
	switch command {
	case "guest-ping", "guest-set-user-password", "guest-fstrim", "guest-shutdown":
		return map[string]any{}, nil
	case "guest-get-host-name":
		return map[string]any{"host-name": p.spec.Name}, nil
	case "guest-get-osinfo":
		return map[string]any{"id": "lab", "name": "Lab", "pretty-name": "Lab Linux", "version-id": "1", "machine": "x86_64",
			"kernel-release": "6.1.0-lab", "kernel-version": "#1 SMP"}, nil
	case "guest-network-get-interfaces":
		return p.interfaces(), nil
	case "guest-get-users", "guest-get-fsinfo", "guest-get-memory-blocks":
		return []any{}, nil
	case "guest-get-time":
		return p.backend.options.Now().UnixNano(), nil
	case "guest-get-timezone":
		return map[string]any{"zone": "UTC", "offset": 0}, nil
	case "guest-info":
		return map[string]any{"version": "10.1.2", "supported_commands": []any{map[string]any{"name": "guest-ping", "enabled": true,
			"success-response": true}}}, nil
	case "guest-fsfreeze-status":
		return "thawed", nil
	case "guest-fsfreeze-freeze", "guest-fsfreeze-thaw":
		return 0, nil
	case "guest-exec", "guest-exec-status":
		return p.agent.exec(command, given)
	case "guest-file-open", "guest-file-read", "guest-file-write", "guest-file-close":
		return p.agent.file(command, given)
	}
	return nil, agentError("The command " + command + " has not been found")
}

// agentError is an error in the guest agent's own words, which do not keep to Go's habits.
type agentError string

func (e agentError) Error() string { return string(e) }

func (p *process) interfaces() []any {
	list := []any{map[string]any{"name": "lo", "hardware-address": "00:00:00:00:00:00", "ip-addresses": []any{
		map[string]any{"ip-address": "127.0.0.1", "ip-address-type": "ipv4", "prefix": 8}}}}
	for i, nic := range p.spec.NICs {
		list = append(list, map[string]any{"name": fmt.Sprintf("eth%d", i), "hardware-address": strings.ToLower(nic.MAC)})
	}
	return list
}

// exec pretends to run a command: echo prints its arguments, everything else succeeds silently.
func (a *agent) exec(command string, given map[string]any) (any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if command == "guest-exec-status" {
		pid, _ := given["pid"].(float64)
		result, known := a.results[int(pid)]
		if !known {
			return nil, fmt.Errorf("PID %d does not exist", int(pid))
		}
		return result, nil
	}
	a.next++
	if a.results == nil {
		a.results = map[int]map[string]any{}
	}
	result := map[string]any{"exited": true, "exitcode": 0}
	arguments, _ := given["arg"].([]any)
	if path, _ := given["path"].(string); strings.HasSuffix(path, "echo") {
		words := make([]string, 0, len(arguments))
		for _, word := range arguments {
			words = append(words, fmt.Sprint(word))
		}
		result["out-data"] = base64.StdEncoding.EncodeToString([]byte(strings.Join(words, " ") + "\n"))
	}
	if input, ok := given["input-data"].(string); ok {
		result["out-data"] = input
	}
	a.results[a.next] = result
	return map[string]any{"pid": a.next}, nil
}

func (a *agent) file(command string, given map[string]any) (any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.files == nil {
		a.files, a.handles = map[string][]byte{}, map[int]string{}
	}
	if command == "guest-file-open" {
		path, _ := given["path"].(string)
		mode, _ := given["mode"].(string)
		if _, exists := a.files[path]; !exists && (mode == "" || mode == "r") {
			return nil, fmt.Errorf("failed to open file '%s' (mode: 'r'): No such file or directory", path)
		}
		if strings.HasPrefix(mode, "w") {
			a.files[path] = nil
		}
		a.next++
		a.handles[a.next] = path
		return a.next, nil
	}
	number, _ := given["handle"].(float64)
	path, open := a.handles[int(number)]
	if !open {
		return nil, fmt.Errorf("handle '%d' has not been found", int(number))
	}
	switch command {
	case "guest-file-read":
		return map[string]any{"count": len(a.files[path]), "eof": true, "buf-b64": base64.StdEncoding.EncodeToString(a.files[path])}, nil
	case "guest-file-write":
		text, _ := given["buf-b64"].(string)
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("invalid base64: %w", err)
		}
		a.files[path] = append(a.files[path], raw...)
		return map[string]any{"count": len(raw), "eof": false}, nil
	}
	delete(a.handles, int(number))
	return map[string]any{}, nil
}
