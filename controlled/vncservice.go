package controlled

import (
	"context"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// maxVNCViewers bounds how many connections one service has at once.
const maxVNCViewers = 16

// vncService is one TCP port that leads to a guest's screen.
type vncService struct {
	owner    *vncServices
	port     int
	vmid     int64
	listener net.Listener
	ctx      context.Context
	end      context.CancelFunc
	ended    chan struct{}
	viewers  chan struct{}

	mu       sync.Mutex
	line     vncLine
	password string
	expiry   *time.Timer
}

func newVNCService(owner *vncServices, body vncBody, line vncLine, listener net.Listener) *vncService {
	ctx, end := context.WithCancel(owner.ctx)
	s := &vncService{
		owner: owner, port: int(body.Port), vmid: body.VMID, listener: listener, ctx: ctx, end: end, ended: make(chan struct{}),
		viewers: make(chan struct{}, maxVNCViewers), line: line, password: body.Password,
	}
	s.expiry = time.AfterFunc(time.Until(line.Expires), end)
	return s
}

// renew prolongs the service; viewers from now on need the new password.
func (s *vncService) renew(line vncLine, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line, s.password = line, password
	s.expiry.Reset(time.Until(line.Expires))
}

func (s *vncService) current() vncLine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.line
}

func (s *vncService) serve() {
	defer close(s.ended)
	defer s.owner.forget(s)
	stop := context.AfterFunc(s.ctx, func() { _ = s.listener.Close() })
	defer stop()
	var connections sync.WaitGroup
	defer connections.Wait()
	defer s.end()
	for {
		viewer, err := s.listener.Accept()
		if err != nil {
			return
		}
		select {
		case s.viewers <- struct{}{}:
			connections.Go(func() {
				defer func() { <-s.viewers }()
				s.show(viewer)
			})
		default:
			_ = viewer.Close()
		}
	}
}

// show lets one viewer at the screen until it leaves, the guest goes off or the service ends. `qm vncproxy` sets the password that QEMU
// then asks for, which it takes from LC_PVE_TICKET, and pipes the screen through its standard input and output.
func (s *vncService) show(viewer net.Conn) {
	defer viewer.Close()
	s.mu.Lock()
	password := s.password
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	argv := slices.Concat(s.owner.qm, []string{"vncproxy", strconv.FormatInt(s.vmid, 10)})
	command := exec.CommandContext(ctx, argv[0], argv[1:]...)
	command.Env = append(commandEnvironment(), "LC_PVE_TICKET="+password)
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = time.Second
	input, err := command.StdinPipe()
	if err != nil {
		return
	}
	command.Stdout = viewer
	var words lastBytes
	command.Stderr = &words
	stop := context.AfterFunc(ctx, func() { _ = viewer.Close() })
	defer stop()
	if err := command.Start(); err != nil {
		s.owner.log.Error("a screen could not be opened", "vmid", s.vmid, "error", err)
		return
	}
	go func() {
		defer cancel() // a viewer that left needs no screen
		defer input.Close()
		copyAll(input, viewer)
	}()
	if err := command.Wait(); err != nil && ctx.Err() == nil {
		s.owner.log.Warn("a screen ended", "vmid", s.vmid, "error", err, "qm", string(words))
	}
}
