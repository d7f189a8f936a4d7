// Package mariadbtest gives tests a real MariaDB server: on a temporary data directory, on a unix socket, once a test process,
// with a database of its own for each test.
package mariadbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

const patience = time.Minute

// Server is a running MariaDB server.
type Server struct {
	folder  string
	socket  string
	process *exec.Cmd
	ended   chan struct{}
	names   atomic.Int64
}

// Main is for TestMain: it starts a server, lets the tests use it, and stops it. A machine without MariaDB fails the tests.
//
//	func TestMain(m *testing.M) { os.Exit(mariadbtest.Main(m, &server)) }
func Main(m *testing.M, server **Server) int {
	started, err := Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	*server = started
	code := m.Run()
	if err := started.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// Start makes an empty server. The caller stops it.
func Start() (*Server, error) {
	installer, err := exec.LookPath("mariadb-install-db")
	if err != nil {
		return nil, errors.New("MariaDB is missing: run scripts/install-packages.sh mariadb")
	}
	binary, err := lookServer()
	if err != nil {
		return nil, errors.New("MariaDB is missing: run scripts/install-packages.sh mariadb")
	}
	folder, err := os.MkdirTemp("", "gantry-mariadb-")
	if err != nil {
		return nil, err
	}
	s := &Server{folder: folder, socket: filepath.Join(folder, "socket"), ended: make(chan struct{})}
	if err := s.start(installer, binary); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// lookServer finds mariadbd, which Debian keeps out of ordinary users' PATH.
func lookServer() (string, error) {
	if path, err := exec.LookPath("mariadbd"); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/mariadbd")
}

func (s *Server) start(installer, binary string) error {
	current, err := user.Current()
	if err != nil {
		return err
	}
	data := filepath.Join(s.folder, "data")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	output, err := exec.CommandContext(ctx, installer, "--no-defaults", "--datadir="+data, "--user="+current.Username,
		"--auth-root-authentication-method=normal", "--skip-test-db").CombinedOutput()
	if err != nil {
		return fmt.Errorf("mariadb-install-db: %w: %s", err, output)
	}
	log, err := os.Create(filepath.Join(s.folder, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	s.process = exec.Command(binary, "--no-defaults", "--datadir="+data, "--user="+current.Username, "--socket="+s.socket,
		"--skip-networking", "--pid-file="+filepath.Join(s.folder, "pid"), "--max-connections=500",
		"--innodb-buffer-pool-size=128M", "--innodb-log-file-size=64M", "--skip-log-bin")
	s.process.Stdout, s.process.Stderr = log, log
	// A test process that is killed takes its server with it.
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		s.process = nil
		return fmt.Errorf("start MariaDB: %w", err)
	}
	go func() {
		_ = s.process.Wait()
		close(s.ended)
	}()
	return s.await(ctx)
}

// await returns when the server takes connections.
func (s *Server) await(ctx context.Context) error {
	settings, err := mysql.ParseDSN(s.dsn(""))
	if err != nil {
		return err
	}
	settings.Logger = &mysql.NopLogger{} // it is not there yet: no news
	connector, err := mysql.NewConnector(settings)
	if err != nil {
		return err
	}
	database := sql.OpenDB(connector)
	defer database.Close()
	for {
		if database.PingContext(ctx) == nil {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-s.ended:
			return fmt.Errorf("MariaDB did not start: %s", s.log())
		case <-ctx.Done():
			return fmt.Errorf("MariaDB does not answer: %s", s.log())
		}
	}
}

// Database makes an empty database for a test and gives a DSN of package store; the database goes when the test ends.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", s.names.Add(1))
	s.execute(t, "CREATE DATABASE "+name+" CHARACTER SET utf8mb4")
	t.Cleanup(func() { s.execute(t, "DROP DATABASE "+name) })
	return "mysql:" + s.dsn(name)
}

func (s *Server) execute(t testing.TB, statement string) {
	t.Helper()
	database, err := sql.Open("mysql", s.dsn(""))
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close()
	if _, err := database.Exec(statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func (s *Server) dsn(database string) string { return "root@unix(" + s.socket + ")/" + database }

func (s *Server) log() string {
	text, _ := os.ReadFile(filepath.Join(s.folder, "log"))
	return string(text[max(0, len(text)-2000):])
}

// Stop ends the server and removes its data.
func (s *Server) Stop() error {
	if s.process != nil {
		// The data is thrown away: no need for an orderly shutdown.
		_ = s.process.Process.Kill()
		select {
		case <-s.ended:
		case <-time.After(patience):
			return fmt.Errorf("MariaDB (process %d) does not end", s.process.Process.Pid)
		}
	}
	return os.RemoveAll(s.folder)
}
