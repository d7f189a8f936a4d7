package controlled

import (
	"context"
	"errors"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	wire "gantry/internal/controlledclient"
)

func (g *guests) routes(router gin.IRoutes) {
	router.POST("/changePassword", g.changePassword)
	router.POST("/unlock", g.unlock)
}

// guests runs short qm commands and waits for them.
type guests struct {
	qm      []string
	timeout time.Duration
}

// userNamePattern keeps option-like and separator characters out; Windows names may have spaces and dots.
var userNamePattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@\\ -]{0,63}$`)

// PVE's limits of the password in set-user-password.
const (
	minPasswordLength = 5
	maxPasswordLength = 1024
)

// changePassword sets a user's password in a running guest through its agent and answers when the agent did.
func (g *guests) changePassword(c *gin.Context) {
	var body struct {
		ID       int64  `json:"id"`
		UserName string `json:"username"`
		Password string `json:"password"`
	}
	if err := readBody(c, &body); err != nil {
		fail(c, err)
		return
	}
	if err := checkPassword(body.ID, body.UserName, body.Password); err != nil {
		fail(c, err)
		return
	}
	// Without a terminal, qm reads the password and its repetition as two lines of standard input (PVE::PTY::read_password).
	// So it never shows in the process list.
	input := body.Password + "\n" + body.Password + "\n"
	err := g.run(c.Request.Context(), input, "guest", "passwd", strconv.FormatInt(body.ID, 10), body.UserName)
	var r *refusal
	if errors.As(err, &r) {
		r.message = strings.ReplaceAll(r.message, body.Password, "***")
	}
	if err != nil {
		fail(c, err)
		return
	}
	succeed(c, nil)
}

func checkPassword(id int64, userName, password string) error {
	if err := checkVMID("id", id); err != nil {
		return err
	}
	switch length := utf8.RuneCountInString(password); {
	case userName == "":
		return invalid("username", "is missing")
	case !userNamePattern.MatchString(userName):
		return invalid("username", "is no usable user name")
	case password == "":
		return invalid("password", "is missing")
	case length < minPasswordLength || length > maxPasswordLength:
		return invalid("password", "must have %d to %d characters", minPasswordLength, maxPasswordLength)
	case strings.ContainsFunc(password, unicode.IsControl):
		return invalid("password", "must not contain control characters")
	}
	return nil
}

// unlock removes a guest's lock, which a task that died with its node leaves behind.
func (g *guests) unlock(c *gin.Context) {
	var body struct {
		VMID int64 `json:"vmid"`
	}
	if err := readBody(c, &body); err != nil {
		fail(c, err)
		return
	}
	if err := checkVMID("vmid", body.VMID); err != nil {
		fail(c, err)
		return
	}
	if err := g.run(c.Request.Context(), "", "unlock", strconv.FormatInt(body.VMID, 10)); err != nil {
		fail(c, err)
		return
	}
	succeed(c, nil)
}

// run waits for one qm command. A failure carries the end of what it printed.
func (g *guests) run(ctx context.Context, input string, arguments ...string) error {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	argv := slices.Concat(g.qm, arguments)
	command := exec.CommandContext(ctx, argv[0], argv[1:]...)
	command.Stdin = strings.NewReader(input)
	var output lastBytes
	command.Stdout, command.Stderr = &output, &output
	command.Env = commandEnvironment()
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = time.Second
	err := command.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return refused(wire.ReasonFailed, "qm %s did not end within %s", arguments[0], g.timeout)
	}
	if text := strings.TrimSpace(strings.ToValidUTF8(string(output), "\uFFFD")); text != "" {
		return refused(wire.ReasonFailed, "%s", text)
	}
	return refused(wire.ReasonFailed, "qm %s: %v", arguments[0], err)
}

// lastBytes keeps the end of what is written to it.
type lastBytes []byte

const maxLastBytes = 4 << 10

func (l *lastBytes) Write(text []byte) (int, error) {
	*l = append(*l, text...)
	if excess := len(*l) - maxLastBytes; excess > 0 {
		*l = append((*l)[:0], (*l)[excess:]...)
	}
	return len(text), nil
}
