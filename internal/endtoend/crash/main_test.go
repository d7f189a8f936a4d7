package crash

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"gantry/controlled"
	"gantry/internal/libvirttest"
	"gantry/internal/mariadbtest"
	"gantry/lab"
	"gantry/server"
)

// mariadb is the one MariaDB server of this test process.
var mariadb *mariadbtest.Server

// Programs that this test binary is, besides the tests: its first argument.
const (
	asServer     = "server"        // FILE
	asLab        = "lab"           // FILE
	asDaemon     = "controlled"    // FILE
	asSupervisor = "run-operation" // DIR
	asQM         = "qm"            // SOCKET NODE ARGUMENT...
)

func TestMain(m *testing.M) {
	if code, inside := libvirttest.Inside(); inside {
		os.Exit(code)
	}
	if len(os.Args) > 2 {
		argument := os.Args[2]
		switch os.Args[1] {
		case asServer:
			os.Exit(program(argument, runServer))
		case asLab:
			os.Exit(program(argument, runLab))
		case asDaemon:
			os.Exit(program(argument, runDaemon))
		case asSupervisor:
			os.Exit(controlled.RunOperation(argument))
		case asQM:
			os.Exit(lab.RunQM(context.Background(), argument, os.Args[3], os.Args[4:], os.Stdin, os.Stdout, os.Stderr))
		}
	}
	// The tests wait more than they compute: more of them at once than there are processors, unless -parallel says otherwise.
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(mariadbtest.Main(m, &mariadb))
}

// program runs one of the programs by the settings in a file of JSON.
func program[Settings any](file string, run func(Settings, *slog.Logger) error) int {
	var settings Settings
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &settings)
	}
	if err == nil {
		err = run(settings, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// serverSettings are what the broker is started with; Gate is where it tells each step border, see gate.
type serverSettings struct {
	Listen, DataDir, DSN, Gate string
}

func runServer(settings serverSettings, log *slog.Logger) error {
	config := server.DefaultConfig()
	config.Listen, config.DataDir, config.Database.DSN, config.Logger = settings.Listen, settings.DataDir, settings.DSN, log
	config.Boundary, config.PauseScale, config.Fleet.PollInterval = knocking(settings.Gate), 0.05, time.Second
	return server.Run(context.Background(), config)
}

// labHello is the line that the lab prints once it answers.
type labHello struct{ URL, TokenID, TokenSecret, Socket, Control, ControlToken string }

// labSettings are what the lab is started with. Its nodes are pve1 and pve2.
type labSettings struct {
	Listen, DataDir, ControlListen, ControlToken string
	Storages                                     []lab.Storage
	NoCleanupLock                                bool
}

func runLab(settings labSettings, log *slog.Logger) error {
	running, err := lab.Start(context.Background(), lab.Config{
		Nodes: []string{nodeName, otherNode}, Listen: settings.Listen, DataDir: settings.DataDir, Storages: settings.Storages,
		ControlListen: settings.ControlListen, ControlToken: settings.ControlToken,
		TimeScale: 0.01, NoCleanupLock: settings.NoCleanupLock, StatusInterval: time.Second, UnauthorizedDelay: -1, Logger: log,
	})
	if err != nil {
		return err
	}
	hello := labHello{URL: running.URL(), Socket: running.AdminSocket()}
	hello.TokenID, hello.TokenSecret = running.RootToken()
	hello.Control, hello.ControlToken = running.Control()
	if err := json.NewEncoder(os.Stdout).Encode(hello); err != nil {
		return err
	}
	select {} // until it is killed
}

// daemonHello is the line that `controlled` prints once it answers.
type daemonHello struct{ URL, Secret string }

func runDaemon(settings controlled.Config, log *slog.Logger) error {
	settings.Logger = log
	running, err := controlled.Start(context.Background(), settings)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(daemonHello{URL: running.URL(), Secret: running.Secret()}); err != nil {
		return err
	}
	return running.Wait()
}
