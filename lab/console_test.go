package lab_test

import (
	"bytes"
	"context"
	"crypto/des"
	"encoding/binary"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"gantry/lab"
)

// des answers a VNC challenge as every client does: the password's bytes with their bits reversed are the key.
func vncAnswer(t *testing.T, challenge []byte, password string) []byte {
	t.Helper()
	key := make([]byte, 8)
	copy(key, password)
	for i := range key {
		var turned byte
		for bit := range 8 {
			turned |= (key[i] >> bit & 1) << (7 - bit)
		}
		key[i] = turned
	}
	block, err := des.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, 16)
	block.Encrypt(out[:8], challenge[:8])
	block.Encrypt(out[8:], challenge[8:])
	return out
}

func TestConsoleShowsTheGuest(t *testing.T) {
	for _, version := range []string{"8", "9"} {
		for _, generate := range []string{"0", "1"} {
			t.Run(version+" generate-password="+generate, func(t *testing.T) { showConsole(t, version, generate) })
		}
	}
}

func showConsole(t *testing.T, version, generate string) {
	running := startLab(t, lab.Config{Version: version, TimeScale: 1})
	c := newClient(t, running)
	c.must(c.task("POST", "/nodes/pve1/qemu", "vmid", "100", "name", "web01"), "OK")
	c.must(c.task("POST", "/nodes/pve1/qemu/100/status/start"), "OK")
	proxy, _ := c.ok("POST", "/nodes/pve1/qemu/100/vncproxy", "websocket", "1", "generate-password", generate).(map[string]any)
	ticket, _ := proxy["ticket"].(string)
	port, _ := proxy["port"].(string)
	password, _ := proxy["password"].(string)
	if generate == "0" {
		password = ticket[:8]
	}
	if strings.HasPrefix(ticket, "PVEVNC:") != (version == "8") {
		t.Errorf("ticket %q", ticket)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	path := "/api2/json/nodes/pve1/qemu/100/vncwebsocket?port=" + port + "&vncticket=" + url.QueryEscape(ticket)
	socket, response, err := websocket.Dial(ctx, "wss"+strings.TrimPrefix(c.base, "https")+path, &websocket.DialOptions{HTTPClient: c.web,
		Subprotocols: []string{"binary"}, HTTPHeader: http.Header{"Authorization": {"PVEAPIToken=" + c.token}}})
	if err != nil {
		t.Fatalf("dial: %v (%v)", err, response)
	}
	defer socket.CloseNow()
	socket.SetReadLimit(1 << 20)
	if response.Header.Get("Sec-WebSocket-Protocol") != "binary" {
		t.Errorf("subprotocol: %v", response.Header)
	}
	conn := websocket.NetConn(ctx, socket, websocket.MessageBinary)
	read := func(count int) []byte {
		t.Helper()
		body := make([]byte, count)
		if _, err := io.ReadFull(conn, body); err != nil {
			t.Fatalf("read: %v", err)
		}
		return body
	}
	write := func(body ...byte) {
		t.Helper()
		if _, err := conn.Write(body); err != nil {
			t.Fatalf("write: %v", err)
		}
	}
	if hello := string(read(12)); hello != "RFB 003.008\n" {
		t.Fatalf("hello %q", hello)
	}
	write([]byte("RFB 003.008\n")...)
	if kinds := read(2); !bytes.Equal(kinds, []byte{1, 2}) {
		t.Fatalf("security types %v", kinds)
	}
	write(2)
	write(vncAnswer(t, read(16), password)...)
	if result := read(4); !bytes.Equal(result, []byte{0, 0, 0, 0}) {
		t.Fatalf("login refused: %v", result)
	}
	write(1)
	hello := read(24)
	width, height := binary.BigEndian.Uint16(hello), binary.BigEndian.Uint16(hello[2:])
	if name := string(read(int(binary.BigEndian.Uint32(hello[20:])))); name != "web01 (VM 100)" {
		t.Errorf("desktop name %q", name)
	}
	write(3, 0, 0, 0, 0, 0, byte(width>>8), byte(width), byte(height>>8), byte(height))
	read(16)
	picture := read(4 * int(width) * int(height))
	colours := map[uint32]bool{}
	for at := 0; at < len(picture); at += 4 {
		colours[binary.LittleEndian.Uint32(picture[at:])] = true
	}
	if len(colours) < 3 {
		t.Errorf("the picture has %d colours: it is blank", len(colours))
	}
	if err := socket.Close(websocket.StatusNormalClosure, ""); err != nil && !strings.Contains(err.Error(), "EOF") {
		t.Logf("close: %v", err)
	}
	upid, _ := proxy["upid"].(string)
	c.must(c.wait(upid), "OK")
}

func TestSendKey(t *testing.T) {
	c := newClient(t, startLab(t, lab.Config{}))
	const path = "/nodes/pve1/qemu/100"
	c.must(c.task("POST", "/nodes/pve1/qemu", "vmid", "100"), "OK")
	if answer := c.call("PUT", path+"/sendkey", "key", "ctrl-alt-delete"); answer.Reason != "VM 100 not running" {
		t.Errorf("stopped: %d %s", answer.Status, answer.Reason)
	}
	c.must(c.task("POST", path+"/status/start"), "OK")
	c.ok("PUT", path+"/sendkey", "key", "ctrl-alt-delete")
	if answer := c.call("PUT", path+"/sendkey", "key", "Ctrl Alt"); answer.Reason != "invalid parameter: Ctrl Alt" {
		t.Errorf("unknown keys: %d %s", answer.Status, answer.Reason)
	}
}
