package lab_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"gantry/lab"
)

// wire sends one request as it stands and returns the answer's head and body.
func wire(t *testing.T, conn net.Conn, reader *bufio.Reader, request string) (head, body string) {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	lines.WriteString(response.Status + "\n")
	if response.Close { // net/http takes the header out
		lines.WriteString("Connection: close\n")
	}
	for _, name := range []string{"Connection", "Server", "Cache-Control", "Pragma", "Content-Type", "Content-Encoding", "Location"} {
		if value := response.Header.Get(name); value != "" {
			lines.WriteString(name + ": " + value + "\n")
		}
	}
	return lines.String(), string(text)
}

const common = "Server: pve-api-daemon/3.0\nCache-Control: max-age=0\nPragma: no-cache\n"

func TestAnswersOnTheWire(t *testing.T) {
	running := startLab(t, lab.Config{Version: "8"})
	address := strings.TrimPrefix(running.URL(), "https://")
	id, secret := running.RootToken()
	token := "Authorization: PVEAPIToken=" + id + "=" + secret + "\r\n"
	dial := func() (net.Conn, *bufio.Reader) {
		conn, err := tls.Dial("tcp", address, pinned(running.Fingerprint()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn, bufio.NewReader(conn)
	}
	for _, fact := range []struct{ name, request, head, body string }{
		{"success keeps the connection", "GET /api2/json/version HTTP/1.1\r\nHost: x\r\n" + token + "\r\n",
			"200 OK\nConnection: Keep-Alive\n" + common + "Content-Type: application/json;charset=UTF-8\n",
			`{"data":{"release":"8.4","repoid":"2a5fa54a8503f96d","version":"8.4.1"}}`},
		{"no credentials: no body, no type", "GET /api2/json/version HTTP/1.1\r\nHost: x\r\n\r\n", "401 No ticket\nConnection: close\n" + common, ""},
		{"an error's text is the reason", "GET /api2/json/nodes/pve1/qemu/998/config HTTP/1.1\r\nHost: x\r\n" + token + "\r\n",
			"500 Configuration file 'nodes/pve1/qemu-server/998.conf' does not exist\nConnection: close\n" + common +
				"Content-Type: application/json;charset=UTF-8\n",
			`{"data":null,"message":"Configuration file 'nodes/pve1/qemu-server/998.conf' does not exist\n"}`},
		{"chunked bodies are refused", "POST /api2/json/pools HTTP/1.1\r\nHost: x\r\n" + token + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			"501 chunked transfer encoding not supported\nConnection: close\n" + common + "Content-Type: text/plain\n",
			"chunked transfer encoding not supported"},
		{"other verbs are refused", "PATCH /api2/json/version HTTP/1.1\r\nHost: x\r\n" + token + "\r\n",
			"501 method 'PATCH' not available\nConnection: close\n" + common, ""},
	} {
		t.Run(fact.name, func(t *testing.T) {
			conn, reader := dial()
			head, body := wire(t, conn, reader, fact.request)
			if head != fact.head || body != fact.body {
				t.Errorf("got\n%s%s\nwant\n%s%s", head, body, fact.head, fact.body)
			}
			closed := strings.Contains(fact.head, "Connection: close")
			if _, err := io.WriteString(conn, fact.request); err == nil {
				_, err = reader.Peek(1)
				if (err != nil) != closed {
					t.Errorf("the connection afterwards: %v, want closed = %v", err, closed)
				}
			}
		})
	}
	t.Run("plain HTTP is sent to HTTPS", func(t *testing.T) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		head, body := wire(t, conn, bufio.NewReader(conn), "GET /api2/json/version HTTP/1.1\r\nHost: "+address+"\r\n\r\n")
		want := "301 Moved Permanently\nConnection: Keep-Alive\n" + common + "Location: https://" + address + "/api2/json/version\n"
		if head != want || body != "Moved Permanently" {
			t.Errorf("got\n%s%s\nwant\n%s", head, body, want)
		}
	})
	t.Run("compressed only when asked and large", func(t *testing.T) {
		conn, reader := dial()
		for path, want := range map[string]bool{"/version": false, "/access/roles": true} {
			head, _ := wire(t, conn, reader, "GET /api2/json"+path+" HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n"+token+"\r\n")
			if strings.Contains(head, "Content-Encoding: gzip") != want {
				t.Errorf("%s: compressed, want %v:\n%s", path, want, head)
			}
		}
	})
}

// A token with privilege separation holds what both it and its user hold.
func TestPrivilegeSeparation(t *testing.T) {
	running := startLab(t, lab.Config{Users: []lab.User{{ID: "joe@pve", Password: "password1"}}, Tokens: []lab.Token{{User: "joe@pve", Name: "own", Separated: true}}})
	root := newClient(t, running)
	root.must(root.task("POST", "/nodes/pve1/qemu", "vmid", "100"), "OK")
	secret, err := running.Token("joe@pve", "own")
	if err != nil {
		t.Fatal(err)
	}
	joe := root.as("joe@pve!own=" + secret)
	denied := "403 Permission check failed (/vms/100, VM.Audit)"
	check := func(want string) {
		t.Helper()
		answer := joe.call("GET", "/nodes/pve1/qemu/100/config")
		if got := strings.TrimSpace(strings.Join([]string{map[int]string{200: "200", 403: "403"}[answer.Status], answer.Reason}, " ")); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	check(denied)
	root.ok("PUT", "/access/acl", "path", "/vms/100", "tokens", "joe@pve!own", "roles", "PVEVMUser")
	check(denied) // the user has nothing
	root.ok("PUT", "/access/acl", "path", "/", "users", "joe@pve", "roles", "PVEAuditor")
	check("200 OK")
	if answer := joe.call("POST", "/nodes/pve1/qemu/100/status/start"); answer.Status != 403 {
		t.Errorf("start with an auditor's rights: %d %s", answer.Status, answer.Reason)
	}
	root.ok("POST", "/pools", "poolid", "p")
	root.ok("PUT", "/pools", "poolid", "p", "vms", "100")
	root.ok("PUT", "/access/acl", "path", "/vms/100", "tokens", "joe@pve!own", "roles", "PVEVMUser", "delete", "1")
	check(denied)
	root.ok("PUT", "/access/acl", "path", "/pool/p", "tokens", "joe@pve!own", "roles", "PVEVMUser")
	check("200 OK") // by the pool
}
