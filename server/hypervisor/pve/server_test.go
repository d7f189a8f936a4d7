package pve

import (
	"bufio"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gantry/internal/tlspin"
	"gantry/server/hypervisor"
)

// rawServer answers requests with raw bytes, status line and all, over TLS: net/http's own server can't write PVE's reason phrases,
// nor break off where we want it to.
type rawServer struct {
	listener    net.Listener
	pin         tlspin.Pin
	answer      func(*http.Request) string
	connections atomic.Int64

	mu       sync.Mutex
	requests []string // "METHOD path body"
}

// cut, at the end of an answer, closes the connection there.
const cut = "\x00"

func serve(t testing.TB, answer func(*http.Request) string) *rawServer {
	t.Helper()
	certificate, pin, err := tlspin.Certificate(t.TempDir(), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	s := &rawServer{listener: listener, pin: pin, answer: answer}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			s.connections.Add(1)
			wait.Go(func() { s.speak(connection) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		wait.Wait()
	})
	return s
}

func (s *rawServer) speak(connection net.Conn) {
	defer connection.Close()
	reader := bufio.NewReader(connection)
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.requests = append(s.requests, request.Method+" "+strings.TrimPrefix(request.URL.RequestURI(), "/api2/json")+" "+string(body))
		s.mu.Unlock()
		request.Body = io.NopCloser(strings.NewReader(string(body)))
		answer, ends := strings.CutSuffix(s.answer(request), cut)
		if _, err := io.WriteString(connection, answer); err != nil || ends || strings.Contains(answer, "Connection: close") {
			return
		}
	}
}

// seen are the requests that arrived so far.
func (s *rawServer) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

// reply is an answer with a status line of ours, e.g. "595 No route to host".
func reply(status, body string) string {
	connection := "Connection: Keep-Alive\r\n"
	if status[0] != '2' {
		connection = "Connection: close\r\n" // PVE closes after every failure
	}
	return fmt.Sprintf("HTTP/1.1 %s\r\n%sContent-Length: %d\r\nContent-Type: application/json;charset=UTF-8\r\n\r\n%s", status, connection, len(body), body)
}

func data(body string) string { return reply("200 OK", `{"data":`+body+`}`) }

const (
	testToken  = "admin@pve!broker"
	testSecret = "01234567-89ab-cdef-0123-456789abcdef"
	testOwner  = "00000000-0000-4000-8000-00000000abcd"
	testConfig = `{"name":"web","digest":"d1","smbios1":"uuid=` + testOwner + `","sockets":1,"cores":2,"memory":"512","cpulimit":"1.5",` +
		`"scsi0":"data:100/vm-100-disk-0.qcow2,discard=on,size=2G","net0":"virtio=02:00:00:00:00:01,bridge=vmbr0,tag=7,mtu=1400"}`
	testTask = "UPID:pve1:00000103:000450DE:6B01F6C6:%s:100:" + testToken + ":"
)

var testRef = hypervisor.GuestRef{ID: 100, Node: "pve1", Owner: testOwner}

func (s *rawServer) options(more map[string]string) map[string]string {
	address := s.listener.Addr().(*net.TCPAddr)
	options := map[string]string{"host": "127.0.0.1", "port": fmt.Sprint(address.Port)}
	for key, value := range more {
		options[key] = value
	}
	return options
}

func (s *rawServer) settings(more map[string]string) hypervisor.Settings {
	return hypervisor.Settings{Options: s.options(more), TLSPin: hex.EncodeToString(s.pin[:])}
}

func openRaw(t testing.TB, settings hypervisor.Settings) *driver {
	t.Helper()
	d, err := Open(settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d.(*driver)
}

func (s *rawServer) byToken(t testing.TB) *driver {
	t.Helper()
	return openRaw(t, s.settings(map[string]string{"tokenId": testToken, "tokenSecret": testSecret}))
}

func (s *rawServer) byPassword(t testing.TB) *driver {
	t.Helper()
	return openRaw(t, s.settings(map[string]string{"username": "admin", "realm": "pve", "password": "secret"}))
}

// pages answers by "METHOD path" without the query; anything else is PVE's 501.
func pages(answers map[string]string) func(*http.Request) string {
	return func(request *http.Request) string {
		answer, known := answers[request.Method+" "+strings.TrimPrefix(request.URL.Path, "/api2/json")]
		if !known {
			return reply(fmt.Sprintf("501 Method '%s %s' not implemented", request.Method, request.URL.Path), "")
		}
		return answer
	}
}

// guestPages are the pages of guest 100 on pve1, stopped, with more on top.
func guestPages(more map[string]string) func(*http.Request) string {
	answers := map[string]string{
		"GET /nodes/pve1/qemu/100/config":         data(testConfig),
		"GET /nodes/pve1/qemu/100/status/current": data(`{"status":"stopped","qmpstatus":"stopped","vmid":100}`),
	}
	for key, value := range more {
		answers[key] = value
	}
	return pages(answers)
}

func quoted(kind string) string { return `"` + fmt.Sprintf(testTask, kind) + `"` }
