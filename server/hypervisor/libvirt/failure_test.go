package libvirt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

func TestFailureKinds(t *testing.T) {
	for _, fact := range []struct {
		err      error
		changing bool
		want     broker.Kind
	}{
		{nil, true, ""},
		{golibvirt.Error{Code: uint32(golibvirt.ErrNoDomain)}, false, broker.NotFound},
		{golibvirt.Error{Code: uint32(golibvirt.ErrNoStorageVol)}, true, broker.NotFound},
		{golibvirt.Error{Code: uint32(golibvirt.ErrNoStoragePool)}, true, broker.NotFound},
		{golibvirt.Error{Code: uint32(golibvirt.ErrOperationTimeout)}, true, broker.Locked},
		{golibvirt.Error{Code: uint32(golibvirt.ErrOperationInvalid)}, true, broker.Conflict},
		{golibvirt.Error{Code: uint32(golibvirt.ErrOperationInvalid), Message: "volume 'x' is still being allocated."}, true, broker.Locked},
		{golibvirt.Error{Code: uint32(golibvirt.ErrOperationInvalid), Message: "volume 'x' is still in use."}, true, broker.Locked},
		{golibvirt.Error{Code: uint32(golibvirt.ErrStorageVolExist)}, true, broker.Exists},
		{golibvirt.Error{Code: uint32(golibvirt.ErrOperationFailed), Message: "domain 'gantry-1' already exists with uuid x"}, true, broker.Exists},
		{golibvirt.Error{Code: uint32(golibvirt.ErrSystemError), Message: "write: No space left on device"}, true, broker.Exhausted},
		{golibvirt.Error{Code: uint32(golibvirt.ErrAccessDenied)}, true, broker.HypervisorAuth},
		{golibvirt.Error{Code: uint32(golibvirt.ErrConfigUnsupported)}, true, broker.Unsupported},
		{golibvirt.Error{Code: uint32(golibvirt.ErrInternalError), Message: "QEMU unexpectedly closed the monitor"}, true, broker.Failed},
		{golibvirt.Error{Code: 99999}, true, broker.Failed},
		{golibvirt.ErrUnsupported, true, broker.Unsupported},
		{golibvirt.ErrInterrupted, true, broker.UnknownOutcome},
		{golibvirt.ErrInterrupted, false, broker.Unreachable},
		{io.EOF, true, broker.UnknownOutcome},
		{context.DeadlineExceeded, false, broker.Unreachable},
		{broker.InvalidField("x", "y"), true, broker.Invalid},
	} {
		if got := broker.KindOf(failure(fact.err, fact.changing)); got != fact.want {
			t.Errorf("%v (changing %t) is %q, want %q", fact.err, fact.changing, got, fact.want)
		}
	}
	long := failure(golibvirt.Error{Code: 1, Message: strings.Repeat("é", 5000)}, true)
	if words := broker.DetailOf(long); len(words) > longestWords || !strings.HasPrefix(words, "éé") {
		t.Errorf("%d bytes of words", len(words))
	}
}

func TestOperationIDs(t *testing.T) {
	now := time.UnixMicro(1_790_000_000_123_456)
	id := newOperationID(hypervisor.OperationFetch, 0, now)
	back, ok := parseOperationID(id.text)
	if !ok || back != (operationID{hypervisor.OperationFetch, 0, now, id.text}) {
		t.Errorf("%s is read as %+v", id.text, back)
	}
	if stamp := id.stamp(); len(stamp) != stampLength || !strings.HasSuffix(id.text, strings.ReplaceAll(stamp, "-", ":")) {
		t.Errorf("stamp of %s is %s", id.text, stamp)
	}
	if newOperationID(hypervisor.OperationFetch, 0, now) == id {
		t.Error("two operations have one id")
	}
	for _, bad := range []string{"", "create", "create:1:2:3", "create:5000:0006600000000000:zz", id.text + "x", "UPID:pve:0:0:0:x:1:r@pam:", strings.Replace(id.text, ":0:", ":-1:", 1)} {
		if _, ok := parseOperationID(bad); ok {
			t.Errorf("%q is taken for an id", bad)
		}
	}
}

func TestImageFormats(t *testing.T) {
	header := func(change func([]byte)) []byte {
		out := make([]byte, 1024)
		copy(out, "QFI\xfb\x00\x00\x00\x03")
		if change != nil {
			change(out)
		}
		return out
	}
	for name, fact := range map[string]struct {
		head []byte
		want string
	}{
		"qcow2":            {header(nil), qcow2},
		"raw":              {make([]byte, 1024), raw},
		"backing file":     {header(func(h []byte) { h[15] = 0x70 }), ""},
		"data file":        {header(func(h []byte) { h[79] = 4 }), ""},
		"dirty":            {header(func(h []byte) { h[79] = 1 }), qcow2},
		"encrypted":        {header(func(h []byte) { h[35] = 1 }), ""},
		"version 1":        {header(func(h []byte) { h[7] = 1 }), ""},
		"vmdk":             {append([]byte("KDMV"), make([]byte, 1024)...), ""},
		"vmdk description": {append([]byte("# Disk DescriptorFile\n"), make([]byte, 1024)...), ""},
		"compressed":       {append([]byte("\x1f\x8b"), make([]byte, 1024)...), ""},
		"a web page":       {[]byte("<html>404</html>"), ""},
		"nothing":          {nil, ""},
	} {
		got, err := imageFormat(fact.head)
		if got != fact.want || (err == nil) != (fact.want != "") || err != nil && !broker.Is(err, broker.Failed) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestDownloadsFromThisMachineAreRefused(t *testing.T) {
	for address, fine := range map[string]bool{
		"127.0.0.1:80": false, "[::1]:80": false, "169.254.169.254:80": false, "[fe80::1]:80": false, "[::ffff:127.0.0.1]:80": false, "0.0.0.0:80": false,
		"10.0.0.1:80": true, "192.0.2.1:443": true, "[2001:db8::1]:443": true,
	} {
		if err := (&driver{}).allowDownload("tcp", address, nil); (err == nil) != fine {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestOptions(t *testing.T) {
	base := map[string]map[string]string{
		"unix": {"transport": "unix"}, "ssh": {"transport": "ssh", "host": "h.example", "password": "x"},
		"tls": {"transport": "tls", "host": "192.0.2.1", "clientCertificate": "c", "clientKey": "k"},
	}
	for way, given := range base {
		if _, err := parseOptions(given); err != nil {
			t.Errorf("%s: %v", way, err)
		}
	}
	for _, fact := range []struct{ way, option, value string }{
		{"unix", "transport", "carrier pigeon"}, {"unix", "socket", "relative"}, {"unix", "socket", "/" + strings.Repeat("x", 200)},
		{"unix", "imagePool", "a b"}, {"unix", "diskMode", "magic"}, {"unix", "antiSpoofing", "maybe"}, {"unix", "localDownloads", "2"},
		{"ssh", "host", "-oProxyCommand=x"}, {"ssh", "host", ""}, {"ssh", "port", "0"}, {"ssh", "port", "70000"}, {"ssh", "username", "-x"},
		{"ssh", "password", strings.Repeat("x", longestKey+1)}, {"tls", "clientKey", ""}, {"tls", "clientCertificate", ""},
	} {
		given := map[string]string{}
		for name, value := range base[fact.way] {
			given[name] = value
		}
		given[fact.option] = fact.value
		var refused *broker.Error
		if _, err := parseOptions(given); !errors.As(err, &refused) || refused.Kind != broker.Invalid || refused.Field != fact.option {
			t.Errorf("%s %s=%.20q: %v", fact.way, fact.option, fact.value, err)
		}
	}
	given := map[string]string{"transport": "ssh", "host": "h", "privateKey": "-----BEGIN secret-----"}
	if _, err := Open(hypervisor.Settings{Options: given}); !broker.Is(err, broker.Invalid) || strings.Contains(err.Error(), "secret") {
		t.Errorf("a bad key: %v", err)
	}
	for _, option := range optionSchema() {
		if option.Title[broker.English] == "" || option.Title[broker.Chinese] == "" {
			t.Errorf("option %s has no title in both languages", option.Name)
		}
	}
}

func FuzzFrames(f *testing.F) {
	packet := func(length uint32, body []byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, length), body...)
	}
	f.Add(packet(28, make([]byte, 24)))
	f.Add(packet(0, nil))
	f.Add(packet(1<<31, make([]byte, 100)))
	f.Fuzz(func(t *testing.T, sent []byte) {
		near, far := net.Pipe()
		go func() {
			_, _ = far.Write(sent)
			_ = far.Close()
		}()
		conn := newFrameConn(near)
		got, _ := io.ReadAll(conn)
		_ = conn.Close()
		if !bytes.HasPrefix(sent, got) {
			t.Fatalf("%x became %x", sent, got)
		}
		for rest := got; len(rest) >= 4; {
			length := binary.BigEndian.Uint32(rest)
			if length < smallestPacket || length > largestPacket {
				t.Fatalf("a packet of %d bytes passed", length)
			}
			if uint64(length) > uint64(len(rest)) {
				break
			}
			rest = rest[length:]
		}
	})
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 'h', 'i', 0, 0}, "<a/>", `<guest xmlns="urn:gantry:libvirt:guest:1" state="x"/>`)
	f.Fuzz(func(t *testing.T, payload []byte, description, metadata string) {
		if remoteError(payload) == nil {
			t.Fatal("an error is none")
		}
		_, _ = parseAuthList(payload)
		_, _ = imageFormat(payload)
		_, _ = readSeed(payload)
		_, _, _ = imageName(description)
		_, _ = parseOperationID(description)
		_, _ = parseBridge(description)
		_, _ = parseCapabilities(description)
		_, _, _ = screenOf(description)
		_ = standsOn(description, "/x")
		if r, err := parseRecord(metadata); err == nil {
			if r == nil {
				r = &record{}
			}
			again, err := replaceRecord(metadata, r)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := parseRecord(again); err != nil || back == nil || back.State != r.State || len(back.Volumes) != len(r.Volumes) {
				t.Fatalf("%q became %q: %+v, %v", metadata, again, back, err)
			}
		}
	})
}
