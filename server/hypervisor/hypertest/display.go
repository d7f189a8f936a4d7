package hypertest

import (
	"bytes"
	"encoding/json"
	"testing"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

func testDisplay(t *testing.T, s *suite) {
	d := s.open(t)
	spec := s.make(t, d, s.startable(t, d, s.full(d.Info().Capabilities)))
	t.Run("status follows power", func(t *testing.T) {
		status, err := d.Status(s.context(t), spec.Ref)
		if err != nil || status.Power != hypervisor.PowerStopped || len(status.Raw) == 0 {
			t.Fatalf("status is %+v, %v", status, err)
		}
		s.press(t, d, spec.Ref, hypervisor.Start)
		status, err = d.Status(s.context(t), spec.Ref)
		if err != nil || status.Power != hypervisor.PowerRunning {
			t.Fatalf("status is %+v, %v", status, err)
		}
	})
	t.Run("config hides secrets", func(t *testing.T) {
		config, err := d.Config(s.context(t), spec.Ref)
		if err != nil || len(config) == 0 {
			t.Fatalf("config is %v, %v", config, err)
		}
		text, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		if secret, _ := json.Marshal(spec.CloudInit.Password); bytes.Contains(text, bytes.Trim(secret, `"`)) {
			t.Errorf("config shows the password: %s", text)
		}
	})
	t.Run("history of guest and node", func(t *testing.T) {
		if s.Refresh != nil {
			s.Refresh(t)
		}
		rows, err := d.History(s.context(t), spec.Ref, "hour", "AVERAGE")
		if !d.Info().Capabilities.History {
			wantKind(t, err, broker.Unsupported)
			return
		}
		wantRows(t, rows, err)
		rows, err = d.NodeHistory(s.context(t), s.Node, "day", "MAX")
		wantRows(t, rows, err)
		_, err = d.History(s.context(t), spec.Ref, "century", "AVERAGE")
		wantKind(t, err, broker.Invalid)
		_, err = d.History(s.context(t), spec.Ref, "hour", "MEDIAN")
		wantKind(t, err, broker.Invalid)
	})
	t.Run("status of a node", func(t *testing.T) {
		status, err := d.NodeStatus(s.context(t), s.Node)
		if err != nil || len(status) == 0 {
			t.Fatalf("status is %v, %v", status, err)
		}
		_, err = d.NodeStatus(s.context(t), "nowhere")
		wantKind(t, err, broker.NotFound)
	})
}

func wantRows(t *testing.T, rows []hypervisor.Sample, err error) {
	t.Helper()
	if err != nil || len(rows) == 0 {
		t.Fatalf("rows are %v, %v", rows, err)
	}
	last := 0.0
	for _, row := range rows {
		if row["time"] <= last {
			t.Fatalf("time %v comes after %v", row["time"], last)
		}
		last = row["time"]
	}
}
