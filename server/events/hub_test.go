package events_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gantry/server/broker"
	"gantry/server/events"
)

// tasks is a store with the tasks that a test puts there.
type tasks struct {
	mutex         sync.Mutex
	active, ended []broker.Task
	seen          time.Time
	looks         int
}

func (s *tasks) set(change func(s *tasks)) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	change(s)
}

func (s *tasks) ListTasks(context.Context, broker.TaskFilter, broker.Page) ([]broker.Task, int64, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.looks++
	return append([]broker.Task(nil), s.active...), int64(len(s.active)), nil
}

func (s *tasks) TasksFinishedAfter(_ context.Context, since time.Time, _ int) ([]broker.Task, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var found []broker.Task
	for _, task := range s.ended {
		if !task.FinishedAt.Before(since) {
			found = append(found, task)
		}
	}
	return found, nil
}

func (s *tasks) ListClusters(context.Context) ([]broker.Cluster, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	seen := s.seen
	return []broker.Cluster{{ID: 1, SeenAt: &seen}}, nil
}

// drain takes what waits.
func drain(from <-chan events.Event) (taken []events.Event) {
	for {
		select {
		case event, open := <-from:
			if !open {
				return taken
			}
			taken = append(taken, event)
		default:
			return taken
		}
	}
}

func TestEachChangeIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &tasks{seen: time.Now()}
		hub := events.New(events.Config{Store: store})
		defer hub.Close()
		heard, cancel, err := hub.Listen()
		if err != nil {
			t.Fatal(err)
		}
		look := func() []events.Event {
			time.Sleep(events.DefaultInterval + time.Millisecond)
			synctest.Wait()
			return drain(heard)
		}
		look()
		running := broker.Task{ID: 7, State: broker.TaskRunning, UpdatedAt: time.Now()}
		store.set(func(s *tasks) { s.active = []broker.Task{running} })
		if got := look(); len(got) != 1 || got[0].Task.ID != 7 {
			t.Errorf("a new task: %+v", got)
		}
		if got := look(); len(got) != 0 {
			t.Errorf("nothing changed: %+v", got)
		}
		store.set(func(s *tasks) { s.active[0].Progress = 40 })
		if got := look(); len(got) != 1 || got[0].Task.Progress != 40 {
			t.Errorf("progress: %+v", got)
		}
		ended := time.Now()
		store.set(func(s *tasks) {
			done := running
			done.State, done.FinishedAt = broker.TaskDone, &ended
			s.active, s.ended = nil, []broker.Task{done}
		})
		if got := look(); len(got) != 1 || got[0].Task.State != broker.TaskDone {
			t.Errorf("the end: %+v", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := drain(heard); len(got) != 0 {
			t.Errorf("the end was told again: %+v", got)
		}
		store.set(func(s *tasks) { s.seen = time.Now() })
		if got := look(); len(got) != 1 || got[0].Task != nil {
			t.Errorf("a look at the hypervisor: %+v", got)
		}
		cancel()
		cancel()
		synctest.Wait()
		var before int
		store.set(func(s *tasks) { before = s.looks })
		time.Sleep(time.Minute)
		synctest.Wait()
		store.set(func(s *tasks) {
			if s.looks > before+1 {
				t.Errorf("%d looks at the store while nobody listened", s.looks-before)
			}
		})
	})
}

func TestWhoIsTooSlowIsCutOffAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &tasks{seen: time.Now()}
		hub := events.New(events.Config{Store: store})
		defer hub.Close()
		slow, _, err := hub.Listen()
		if err != nil {
			t.Fatal(err)
		}
		quick, _, err := hub.Listen()
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for progress := range events.Buffer + 10 {
			store.set(func(s *tasks) { s.active = []broker.Task{{ID: 1, State: broker.TaskRunning, Progress: progress + 1}} })
			time.Sleep(events.DefaultInterval)
			synctest.Wait()
			count += len(drain(quick))
		}
		if count < events.Buffer+9 {
			t.Errorf("the quick one heard %d", count)
		}
		if got := len(drain(slow)); got != events.Buffer {
			t.Errorf("%d events waited for the slow one", got)
		}
		if _, open := <-slow; open {
			t.Error("the slow one was not cut off")
		}
	})
}

func TestBounds(t *testing.T) {
	hub := events.New(events.Config{Store: &tasks{}})
	var channels []<-chan events.Event
	for range events.MaxListeners {
		heard, _, err := hub.Listen()
		if err != nil {
			t.Fatal(err)
		}
		channels = append(channels, heard)
	}
	if _, _, err := hub.Listen(); !broker.Is(err, broker.Busy) {
		t.Errorf("one more: %v", err)
	}
	hub.Close()
	for _, heard := range channels {
		for range heard {
		}
	}
	if _, _, err := hub.Listen(); !broker.Is(err, broker.Unreachable) {
		t.Errorf("after the end: %v", err)
	}
}
