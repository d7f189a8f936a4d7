package vncproxy_test

import (
	"context"
	"testing"
	"time"

	"github.com/coder/websocket"

	"gantry/internal/consoleapi"
	"gantry/vncproxy/rfb"
	"gantry/vncproxy/vnctest"
)

// The console's own password is asked for by the proxy: the screen behind it never learns it, and needs none.
func TestAConsoleWithAPasswordAsksForIt(t *testing.T) {
	for typed, good := range map[string]bool{"sesame": true, "sesam": false} {
		r := newRig(t, nil)
		target := r.pve.Target()
		target.ViewerPassword = "sesame"
		r.instead(target)
		conn := r.browser(t).dial(t, r.issue(t, 7))
		stream := websocket.NetConn(context.WithoutCancel(t.Context()), conn, websocket.MessageBinary)
		if err := stream.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		err := rfb.Connect(stream, typed)
		if !good {
			if err == nil {
				t.Errorf("let in with %q", typed)
			}
			expectClose(t, conn, consoleapi.ReasonWrongPassword)
			continue
		}
		if err != nil {
			t.Fatalf("with the password: %v", err)
		}
		if _, err := stream.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if width, _ := readServerInit(t, stream); width != vnctest.Width {
			t.Errorf("screen is %d wide", width)
		}
	}
}
