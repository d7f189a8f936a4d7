package controlled

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	wire "gantry/internal/controlledclient"
)

func TestParseChecksum(t *testing.T) {
	for name, row := range map[string]struct {
		text, want string
		ok         bool
	}{
		"none":              {"", "", true},
		"sha256":            {"sha256:" + strings.Repeat("ab", 32), "sha256:" + strings.Repeat("ab", 32), true},
		"upper case":        {"SHA256:" + strings.Repeat("AB", 32), "sha256:" + strings.Repeat("ab", 32), true},
		"sha512":            {"sha512:" + strings.Repeat("ab", 64), "sha512:" + strings.Repeat("ab", 64), true},
		"weak":              {"md5:" + strings.Repeat("ab", 16), "", false},
		"no algorithm":      {strings.Repeat("ab", 32), "", false},
		"length of another": {"sha256:" + strings.Repeat("ab", 64), "", false},
		"no hex":            {"sha256:" + strings.Repeat("xy", 32), "", false},
		"no digest":         {"sha256:", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseChecksum(row.text)
			if got != row.want || (err == nil) != row.ok {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func FuzzParseChecksum(f *testing.F) {
	f.Add("sha256:" + strings.Repeat("ab", 32))
	f.Add("sha512:")
	f.Add(":")
	f.Fuzz(func(t *testing.T, text string) {
		checksum, err := parseChecksum(text)
		if err != nil || checksum == "" {
			if checksum != "" || err == nil && text != "" {
				t.Errorf("%q gave %q, %v", text, checksum, err)
			}
			return
		}
		if again, err := parseChecksum(checksum); err != nil || again != checksum {
			t.Errorf("%q became %q, %v", checksum, again, err)
		}
		got, err := checksumOf(context.Background(), strings.NewReader("x"), checksum)
		if err != nil || len(got) != len(checksum) {
			t.Errorf("%q computes as %q, %v", checksum, got, err)
		}
	})
}

func TestCheckAddress(t *testing.T) {
	const never, private, public = "never", "private", "public"
	for address, class := range map[string]string{
		"127.0.0.1": private, "127.8.9.10": private, "::1": private, "10.1.2.3": private, "172.31.255.255": private,
		"192.168.1.1": private, "100.64.0.1": private, "fd12::1": private, "::ffff:10.0.0.1": private,
		"169.254.169.254": never, "::ffff:169.254.169.254": never, "fe80::1%eth0": never, "224.0.0.1": never, "ff02::1": never,
		"0.0.0.0": never, "::": never, "255.255.255.255": never, "100.100.100.200": never, "192.0.0.192": never,
		"fd00:ec2::254": never, "64:ff9b::7f00:1": never, "2002:7f00:1::": never, "2001:0:1::1": never,
		"1.1.1.1": public, "172.32.0.1": public, "2606:4700::1111": public, "100.128.0.1": public,
	} {
		parsed := netip.MustParseAddr(address)
		closed, open := checkAddress(parsed, false), checkAddress(parsed, true)
		if (closed == nil) != (class == public) || (open == nil) != (class != never) {
			t.Errorf("%s (%s): by default %v, with private ones allowed %v", address, class, closed, open)
		}
	}
}

func TestRedirectRules(t *testing.T) {
	for name, row := range map[string]struct {
		from, to     string
		hops         int
		allowPrivate bool
		ok           bool
	}{
		"to another host":     {"https://a.example/x", "https://b.example/x", 1, false, true},
		"to https":            {"http://a.example/x", "https://b.example/x", 1, false, true},
		"to plain http":       {"https://a.example/x", "http://b.example/x", 1, false, false},
		"to loopback":         {"http://a.example/x", "http://127.0.0.1:8006/x", 1, false, false},
		"to loopback v6":      {"http://a.example/x", "http://[::1]:8006/x", 1, false, false},
		"to loopback, mapped": {"http://a.example/x", "http://[::ffff:127.0.0.1]/x", 1, false, false},
		"to loopback allowed": {"http://a.example/x", "http://127.0.0.1:8006/x", 1, true, true},
		"to metadata":         {"http://a.example/x", "http://169.254.169.254/", 1, true, false},
		"to a file":           {"http://a.example/x", "file:///etc/shadow", 1, true, false},
		"to gopher":           {"http://a.example/x", "gopher://a.example/", 1, true, false},
		"in circles":          {"http://a.example/x", "http://a.example/x", maxRedirects, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := requestTo(t, row.from), requestTo(t, row.to)
			err := downloadClient(row.allowPrivate).CheckRedirect(to, repeat(from, row.hops))
			if (err == nil) != row.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A name is judged by the address that it leads to, when it is dialled.
func TestNameOfLoopbackIsRefused(t *testing.T) {
	origin := newOrigin(t, whole)
	port := origin.URL[strings.LastIndex(origin.URL, ":"):]
	n := newNode(t)
	n.config.AllowPrivateDownloads = false
	n.start()
	download := n.finish(wire.DownloadOrder{URL: "http://localhost" + port + "/x.qcow2", Folder: n.images})
	if download.State != wire.DownloadFailed || !strings.Contains(download.Error, "loopback or private") {
		t.Errorf("got %+v", download)
	}
	_, err := n.client.Download(context.Background(), wire.DownloadOrder{URL: origin.URL + "/x.qcow2", Folder: n.images})
	if kindOf(err) != "refused forbidden url" {
		t.Errorf("an address: got %v", err)
	}
	if origin.requests() != nil {
		t.Error("the request was sent")
	}
}

func TestCheckURL(t *testing.T) {
	for text, ok := range map[string]bool{
		"http://a.example/x": true, "https://a.example:8443/x": true, "ftp://a.example/x": false, "file:///x": false, "/x": false,
		"http://": false, "http:///x": false, "http://127.0.0.1/": false, "http://[fe80::1%25eth0]/": false,
	} {
		parsed, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		err = checkURL(parsed, false)
		if (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
		var address *addressError
		if strings.Contains(text, "127.") && !errors.As(err, &address) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
