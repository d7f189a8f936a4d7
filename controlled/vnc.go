package controlled

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	wire "gantry/internal/controlledclient"
)

func (v *vncServices) routes(router gin.IRoutes) {
	router.POST("/vnc", v.begin)
	router.POST("/vnc/stop", v.stop)
	router.POST("/vnc/import", v.importLine)
}

// Bounds of VNC services. The ports are those that ProxmoxVE-AMS gives out and the ones that VNC has by itself.
const (
	lowestVNCPort    = 5900
	maxVNCServices   = 1000
	maxVNCTime       = 24 * time.Hour
	maxVNCPassword   = 128
	maxVNCHostLength = 253
)

var (
	vncTokenPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`)
	vncHostPattern  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)
)

// vncServices are screens that this node offers to a websockify beside it, as the ProxmoxVE-AMS daemon does (seed 003): each is a TCP port
// that leads to `qm vncproxy`, and a line "token: host:port" in websockify's token file. Gantry's own consoles need none of this.
type vncServices struct {
	ctx    context.Context // the daemon's
	qm     []string
	listen string
	tokens *vncTokens
	log    *slog.Logger

	mu       sync.Mutex
	services map[int]*vncService
	running  sync.WaitGroup
}

// vncBody is the body of /vnc and /vnc/import. Time is in seconds, as documented.
type vncBody struct {
	File     string `json:"vnc_file_path"`
	Host     string `json:"host"`
	Port     int64  `json:"port"`
	Token    string `json:"username"`
	Password string `json:"password"`
	Time     int64  `json:"time"`
	VMID     int64  `json:"vmid"`
}

func (b *vncBody) check() error {
	switch {
	case !vncTokenPattern.MatchString(b.Token):
		return invalid("username", "must be 1 to 64 letters, digits, '_', '.' or '-'")
	case b.Password == "" || len(b.Password) > maxVNCPassword || !printable(b.Password):
		return invalid("password", "must have 1 to %d printable characters", maxVNCPassword)
	case b.Time < 1 || time.Duration(b.Time)*time.Second > maxVNCTime:
		return invalid("time", "must be between 1 and %d seconds", int(maxVNCTime.Seconds()))
	}
	if _, err := netip.ParseAddr(b.Host); err != nil && (len(b.Host) > maxVNCHostLength || !vncHostPattern.MatchString(b.Host)) {
		return invalid("host", "must be a host name or an address")
	}
	if err := checkVNCPort(b.Port); err != nil {
		return err
	}
	return checkVMID("vmid", b.VMID)
}

func checkVNCPort(port int64) error {
	if port < lowestVNCPort || port > 65535 {
		return invalid("port", "must be between %d and 65535", lowestVNCPort)
	}
	return nil
}

// line is what websockify reads (TokenFile of websockify's token plugins).
func (b *vncBody) line(service bool) vncLine {
	return vncLine{
		File: b.File, Token: b.Token, Target: net.JoinHostPort(b.Host, strconv.FormatInt(b.Port, 10)), Service: service,
		Expires: time.Now().Add(time.Duration(b.Time) * time.Second),
	}
}

// begin starts a service, or prolongs the one that this port has for the same guest, with the password of this call.
func (v *vncServices) begin(c *gin.Context) {
	var body vncBody
	err := readBody(c, &body)
	if err == nil {
		err = body.check()
	}
	if err == nil {
		err = v.start(body)
	}
	if err != nil {
		fail(c, err)
		return
	}
	succeed(c, nil)
}

func (v *vncServices) start(body vncBody) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	known, running := v.services[int(body.Port)]
	switch {
	case v.ctx.Err() != nil:
		return refused(wire.ReasonBusy, "the daemon is stopping")
	case running && known.vmid != body.VMID:
		return refused(wire.ReasonConflict, "port %d belongs to guest %d", body.Port, known.vmid)
	case !running && len(v.services) >= maxVNCServices:
		return refused(wire.ReasonBusy, "%d VNC services run already", maxVNCServices)
	}
	line := body.line(true)
	if running {
		if err := v.tokens.replace(known.line, line); err != nil {
			return err
		}
		known.renew(line, body.Password)
		return nil
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(v.listen, strconv.FormatInt(body.Port, 10)))
	if err != nil {
		return refused(wire.ReasonConflict, "port %d can't be listened on: another program has it", body.Port)
	}
	if err := v.tokens.add(line); err != nil {
		_ = listener.Close()
		return err
	}
	service := newVNCService(v, body, line, listener)
	v.services[int(body.Port)] = service
	v.running.Go(service.serve)
	return nil
}

// stop ends the service of a port with its open connections. As documented, nothing but the port counts.
func (v *vncServices) stop(c *gin.Context) {
	var body struct {
		Port int64 `json:"port"`
	}
	err := readBody(c, &body)
	if err == nil {
		err = checkVNCPort(body.Port)
	}
	if err == nil {
		v.mu.Lock()
		service, running := v.services[int(body.Port)]
		v.mu.Unlock()
		if !running {
			err = notFound(fmt.Sprintf("no VNC service runs on port %d", body.Port))
		} else {
			service.end()
			<-service.ended
		}
	}
	if err != nil {
		fail(c, err)
		return
	}
	succeed(c, nil)
}

// importLine lets the websockify here lead to a service of another node, for as long as that lasts.
func (v *vncServices) importLine(c *gin.Context) {
	var body vncBody
	err := readBody(c, &body)
	if err == nil {
		err = body.check()
	}
	if err == nil {
		err = v.tokens.add(body.line(false))
	}
	if err != nil {
		fail(c, err)
		return
	}
	succeed(c, nil)
}

// forget is called by a service that has ended.
func (v *vncServices) forget(service *vncService) {
	v.mu.Lock()
	if v.services[service.port] == service {
		delete(v.services, service.port)
	}
	v.mu.Unlock()
	if err := v.tokens.remove(service.current()); err != nil {
		v.log.Error("a VNC token could not be removed", "error", err)
	}
}

// wait returns when all services have ended, after the end of the daemon's context.
func (v *vncServices) wait() {
	v.running.Wait()
	v.tokens.close()
}

// vncLine is a line of a token file that this daemon put there.
type vncLine struct {
	File    string    `json:"file"`
	Token   string    `json:"token"`
	Target  string    `json:"target"`
	Service bool      `json:"service"` // ends with the daemon
	Expires time.Time `json:"expires"`
}

func (l vncLine) text() string { return l.Token + ": " + l.Target }

func (l vncLine) is(text string) bool {
	token, _, found := strings.Cut(text, ":")
	return found && strings.TrimSpace(token) == l.Token
}
