package crash

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"gantry/server/broker"
	"gantry/server/task"
)

// border is a place at which a process can die: a moment of a step.
type border struct {
	Task   int64
	Kind   string
	Step   int
	Moment task.Moment
	Undo   bool
	State  broker.TaskState
}

// place is a border without the task: what borders of different orders have in common.
type place struct {
	Step   string
	Moment task.Moment
	Undo   bool
	// Time counts how often the same task came here, from 1.
	Time int
}

func (p place) String() string {
	direction := "do"
	if p.Undo {
		direction = "undo"
	}
	return fmt.Sprintf("%s/%s/%s/%d", direction, p.Step, p.Moment, p.Time)
}

// knocking tells a gate about each step border and goes on when the gate says so. Without an answer it goes on, too: the process is
// about to be killed, or the test is over.
func knocking(gate string) func(task.Moment, broker.Task) {
	return func(moment task.Moment, at broker.Task) {
		connection, err := net.Dial("unix", gate)
		if err != nil {
			return
		}
		defer connection.Close()
		err = json.NewEncoder(connection).Encode(border{
			Task: at.ID, Kind: at.Kind, Step: at.Step, Moment: moment, Undo: at.Undoing, State: at.State,
		})
		if err == nil {
			_, _ = bufio.NewReader(connection).ReadString('\n')
		}
	}
}

// gate hears of each step border of a server that is started with knocking.
type gate struct {
	socket string
	knocks chan knock
}

// knock is a server that stands at a border until it is let go.
type knock struct {
	border
	connection net.Conn
}

func (k knock) letGo() {
	_, _ = k.connection.Write([]byte("go\n")) // who was killed does not hear it
	_ = k.connection.Close()
}

func newGate(t testing.TB, folder string) *gate {
	t.Helper()
	g := &gate{socket: filepath.Join(folder, "gate"), knocks: make(chan knock)}
	listener, err := net.Listen("unix", g.socket)
	check(t, err)
	over := make(chan struct{})
	t.Cleanup(func() {
		close(over)
		_ = listener.Close()
	})
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				arrived := knock{connection: connection}
				if json.NewDecoder(connection).Decode(&arrived.border) != nil {
					_ = connection.Close()
					return
				}
				select {
				case g.knocks <- arrived:
				case <-over:
					_ = connection.Close()
				}
			}()
		}
	}()
	return g
}
