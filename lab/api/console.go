package api

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"gantry/lab/apierror"
	"gantry/lab/cluster"
	"gantry/lab/httpwire"
	"gantry/lab/worker"
	"gantry/lab/wsframe"
)

var consoleRoutes = map[string]handler{
	"POST" + guestPath + "/vncproxy":    vncProxy,
	"GET" + guestPath + "/vncwebsocket": vncWebsocket,
	"POST" + guestPath + "/termproxy":   termProxy,
	"PUT" + guestPath + "/sendkey":      sendKey,
	"POST" + guestPath + "/monitor":     monitor,
	"POST /access/vncticket":            verifyVNCTicket,
}

// Ports of consoles on each node.
const firstPort, lastPort = 5900, 5999

// consoles are the proxies that wait for their client, by node and port.
type consoles struct {
	mu      sync.Mutex
	waiting map[string]*console
	closing chan struct{}
}

// console is one vncproxy: its task ends when the client has gone.
type console struct {
	key      string
	guest    *cluster.Guest
	password string // of the RFB server
	connect  chan struct{}
	once     sync.Once
	ended    chan error
}

func newConsoles() *consoles {
	return &consoles{waiting: map[string]*console{}, closing: make(chan struct{})}
}

func (c *consoles) close() { close(c.closing) }

// reserve takes the lowest free port of a node.
func (c *consoles) reserve(node string, guest *cluster.Guest) (*console, int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for port := firstPort; port <= lastPort; port++ {
		key := node + ":" + strconv.Itoa(port)
		if c.waiting[key] == nil {
			waiting := &console{key: key, guest: guest, connect: make(chan struct{}), ended: make(chan error, 1)}
			c.waiting[key] = waiting
			return waiting, port, nil
		}
	}
	return nil, 0, apierror.Die("unable to find free port (%d-%d)", firstPort, lastPort)
}

func (c *consoles) find(node string, port int) *console {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting[node+":"+strconv.Itoa(port)]
}

func (c *consoles) drop(console *console) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[console.key] == console {
		delete(c.waiting, console.key)
	}
}

const passwordLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

func newPassword() string {
	raw := make([]byte, 8)
	if _, err := rand.Read(raw); err != nil {
		return "labvnc00"
	}
	for i := range raw {
		raw[i] = passwordLetters[raw[i]&63]
	}
	return string(raw)
}

func vncProxy(r *Request) (any, error) {
	guest, err := r.Cluster.Guest(r.Node, r.VMID)
	if err != nil {
		return nil, err
	}
	waiting, port, err := r.Server.console.reserve(r.Node, guest)
	if err != nil {
		return nil, err
	}
	ticket := r.Cluster.Access.VNCTicket(r.User, vmPath(r.VMID), port)
	answer := map[string]any{"user": r.User, "port": strconv.Itoa(port), "cert": r.Server.Certificate}
	generated := newPassword()
	if r.Cluster.Major >= 9 {
		ticket = generated + ":" + ticket // the password goes before the ticket: clients use its first eight characters
	}
	// VNC knows eight characters of a password.
	waiting.password = ticket[:8]
	if r.Params.Flag("generate-password") {
		waiting.password = generated
		answer["password"] = generated
	}
	answer["ticket"] = ticket
	task := r.Cluster.Tasks.Start(r.Node, "vncproxy", strconv.Itoa(r.VMID), r.User, func(ctx context.Context, task *worker.Task) error {
		return r.Server.waitConsole(ctx, waiting)
	})
	answer["upid"] = task.Text
	return answer, nil
}

// waitConsole is the life of a console's task: ten seconds for the client to come, then as long as it stays.
func (s *Server) waitConsole(ctx context.Context, waiting *console) error {
	defer s.console.drop(waiting)
	timer := time.NewTimer(s.Cluster.Scaled(10 * time.Second))
	defer timer.Stop()
	select {
	case <-waiting.connect:
	case <-timer.C:
		return apierror.Die("connection timed out")
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.console.closing:
		return worker.ErrInterrupted
	}
	select {
	case err := <-waiting.ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.console.closing:
		return worker.ErrInterrupted
	}
}

// vncTicketValid strips the password that PVE 9 puts before the ticket.
func (s *Server) vncTicketValid(ticket, user, path string, port int) bool {
	if at := strings.Index(ticket, "PVEVNC:"); at > 0 {
		ticket = ticket[at:]
	}
	return s.Cluster.Access.VNCTicketValid(ticket, user, path, port)
}

func vncWebsocket(r *Request) (any, error) {
	port := r.Params.Int("port", 0)
	if !r.Server.vncTicketValid(r.Params.Str("vncticket"), r.User, vmPath(r.VMID), port) {
		return nil, apierror.New(401, "permission denied - invalid PVEVNC ticket")
	}
	header := r.HTTP.Header
	if !strings.EqualFold(header.Get("Upgrade"), "websocket") || header.Get("Sec-WebSocket-Key") == "" {
		// Without an upgrade the call answers with its parameters.
		return map[string]any{"port": strconv.Itoa(port)}, nil
	}
	if header.Get("Sec-WebSocket-Version") != "13" {
		return nil, apierror.New(400, "unexpected websocket-version")
	}
	if !slicesContainsFold(header.Values("Sec-WebSocket-Protocol"), "binary") {
		return nil, apierror.New(400, "unexpected websocket-protocol")
	}
	waiting := r.Server.console.find(r.Node, port)
	if waiting == nil {
		return nil, &apierror.Error{Status: 595, Message: "Connection refused\n", EmptyBody: true}
	}
	taken := true
	waiting.once.Do(func() { taken = false; close(waiting.connect) })
	if taken {
		return nil, &apierror.Error{Status: 595, Message: "Connection refused\n", EmptyBody: true}
	}
	return hijacked{&httpwire.Response{Status: 101, Reason: "Switching Protocols", Header: [][2]string{
		{"Upgrade", "websocket"}, {"Connection", "upgrade"}, {"Sec-WebSocket-Accept", wsframe.AcceptKey(header.Get("Sec-WebSocket-Key"))},
		{"Sec-WebSocket-Protocol", "binary"}},
		Hijack: func(conn net.Conn, buffered *bufio.Reader) { waiting.ended <- r.Server.pump(waiting, conn, buffered) }}}, nil
}

func slicesContainsFold(lists []string, wanted string) bool {
	for _, list := range lists {
		for name := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(name), wanted) {
				return true
			}
		}
	}
	return false
}

// pump carries bytes between the websocket and the guest's screen until one side ends.
func (s *Server) pump(waiting *console, conn net.Conn, buffered *bufio.Reader) error {
	socket := wsframe.New(conn, buffered)
	defer socket.Close()
	process := waiting.guest.Process()
	if process == nil {
		return apierror.Die("VM %d not running", waiting.guest.VMID)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	screen, err := process.VNC(ctx)
	cancel()
	if err != nil {
		return apierror.Die("unable to connect to the console: %s", err)
	}
	defer screen.Close()
	near, far := net.Pipe()
	defer near.Close()
	var wait sync.WaitGroup
	wait.Add(3)
	go func() { // the RFB server that asks for the password
		defer wait.Done()
		defer far.Close()
		defer screen.Close()
		_ = guardRFB(far, screen, waiting.password)
	}()
	go func() {
		defer wait.Done()
		defer near.Close()
		for {
			payload, err := socket.Read()
			if err != nil {
				return
			}
			if _, err := near.Write(payload); err != nil {
				return
			}
		}
	}()
	go func() {
		defer wait.Done()
		defer socket.Close()
		buffer := make([]byte, 64<<10)
		for {
			count, err := near.Read(buffer)
			if count > 0 && socket.Write(wsframe.Binary, buffer[:count]) != nil {
				return
			}
			if err != nil {
				_ = socket.Write(wsframe.Close, nil)
				return
			}
		}
	}()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-s.console.closing:
			_ = socket.Close()
		case <-stop:
		}
	}()
	wait.Wait()
	return nil
}

func verifyVNCTicket(r *Request) (any, error) {
	privileges := strings.FieldsFunc(r.Params.Str("privs"), func(c rune) bool { return c == ',' || c == ' ' })
	user := r.Params.Str("authid")
	valid := false
	for port := firstPort; port <= lastPort && !valid; port++ {
		valid = r.Server.vncTicketValid(r.Params.Str("vncticket"), user, r.Params.Str("authpath"), port)
	}
	if !valid || r.Cluster.Access.Check(user, r.Params.Str("authpath"), privileges, false) != nil {
		return nil, apierror.New(401, "authentication failure")
	}
	return nil, nil
}

// termProxy needs a serial console on the guest; the lab's guests have no terminal behind it.
func termProxy(r *Request) (any, error) {
	guest, err := r.Cluster.Guest(r.Node, r.VMID)
	if err != nil {
		return nil, err
	}
	if name := r.Params.Str("serial"); name != "" && guest.Config().Values[name] != "socket" {
		return nil, apierror.Die("unable to find a serial interface")
	}
	return nil, apierror.Die("Timeout while waiting for port '5900' to get ready!")
}

func sendKey(r *Request) (any, error) {
	if err := rootOnly(r, "skiplock"); err != nil {
		return nil, err
	}
	return nil, r.Cluster.SendKeys(r, r.Node, r.VMID, r.Params.Str("key"))
}

func monitor(r *Request) (any, error) {
	guest, err := r.Cluster.Guest(r.Node, r.VMID)
	if err != nil {
		return nil, err
	}
	if !guest.Running() {
		return nil, apierror.Die("VM %d not running", r.VMID)
	}
	command := strings.TrimSpace(r.Params.Str("command"))
	switch command {
	case "info status":
		state := "running"
		if status := guest.Status(r); status.Paused {
			state = "paused"
		}
		return "VM status: " + state + "\r\n", nil
	case "info version":
		return r.Cluster.QEMUVersion() + "\r\n", nil
	}
	word, _, _ := strings.Cut(command, " ")
	return "unknown command: '" + word + "'\r\n", nil
}

var errRFB = errors.New("unexpected RFB handshake")

func readExactly(reader io.Reader, count int) ([]byte, error) {
	body := make([]byte, count)
	_, err := io.ReadFull(reader, body)
	return body, err
}
