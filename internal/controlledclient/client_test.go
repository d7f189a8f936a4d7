package controlledclient_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gantry/internal/controlledclient"
	"gantry/internal/tlspin"
)

// peer answers in the daemon's place and counts requests.
func peer(t *testing.T, answer http.HandlerFunc) (*controlledclient.Client, *atomic.Int32) {
	t.Helper()
	pair, pin, err := tlspin.Certificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var count atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		answer(w, r)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	client, err := controlledclient.New(server.URL, "secret", pin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client, &count
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

func TestErrorKinds(t *testing.T) {
	for name, row := range map[string]struct {
		answer http.HandlerFunc
		kind   controlledclient.Kind
		reason controlledclient.Reason
	}{
		"success":           {text(`{"code":200,"message":"success","data":{"operation":"a","state":"running"}}`), "", ""},
		"auth without data": {text(`{"code":401,"message":"Authentication failed!"}`), controlledclient.KindAuth, ""},
		"not found":         {text(`{"code":404,"message":"x","data":{"reason":"not_found"}}`), controlledclient.KindNotFound, controlledclient.ReasonNotFound},
		"AMS's empty data":  {text(`{"code":404,"message":"path not found","data":{}}`), controlledclient.KindNotFound, ""},
		"refused":           {text(`{"code":500,"message":"x","data":{"reason":"busy"}}`), controlledclient.KindRefused, controlledclient.ReasonBusy},
		"lost reply":        {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, controlledclient.KindUnknown, ""},
		"cut reply": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"code":200`)
		}, controlledclient.KindUnknown, ""},
		"a proxy's page":  {text("<html>502 Bad Gateway</html>"), controlledclient.KindUnknown, ""},
		"other JSON":      {text(`{"detail":"x"}`), controlledclient.KindUnknown, ""},
		"wrong data type": {text(`{"code":200,"message":"","data":{"operation":1}}`), controlledclient.KindUnknown, ""},
		"endless":         {text(`{"code":200,"message":"` + strings.Repeat("x", 9<<20) + `"}`), controlledclient.KindUnknown, ""},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusFound)
		},
			controlledclient.KindUnknown, ""},
	} {
		t.Run(name, func(t *testing.T) {
			client, count := peer(t, row.answer)
			operation, err := client.ImportDisk(context.Background(), controlledclient.ImportDisk{VMID: 110})
			var failure *controlledclient.Error
			if errors.As(err, &failure); row.kind == "" {
				if err != nil || operation.ID != "a" {
					t.Errorf("got %+v, %v", operation, err)
				}
			} else if failure == nil || failure.Kind != row.kind || failure.Reason != row.reason {
				t.Errorf("got %v", err)
			}
			if count.Load() != 1 {
				t.Errorf("the call was sent %d times", count.Load())
			}
		})
	}
}

func TestContextEndsCall(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	client, _ := peer(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		cancel()
		<-t.Context().Done() // an answer, even an empty one, could come before the caller sees that its context ended
	})
	_, err := client.ImportDisk(ctx, controlledclient.ImportDisk{VMID: 110})
	var failure *controlledclient.Error
	if !errors.As(err, &failure) || failure.Kind != controlledclient.KindUnknown || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	expired, cancel := context.WithTimeout(context.Background(), -time.Second)
	defer cancel()
	_, err = client.Status(expired)
	if !errors.As(err, &failure) || failure.Kind != controlledclient.KindUnreachable {
		t.Errorf("before anything was sent: %v", err)
	}
}

func TestRequestsOnTheWire(t *testing.T) {
	var got string
	client, _ := peer(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.URL.String() + " " + r.Header.Get("Authorization") + " " + string(body)
		_, _ = io.WriteString(w, `{"code":200,"message":"success","data":{}}`)
	})
	ctx := context.Background()
	for want, call := range map[string]func() error{
		"GET /status secret ":                         func() error { _, err := client.Status(ctx); return err },
		"GET /version secret ":                        func() error { _, err := client.Version(ctx); return err },
		"GET /pathFile?path=%2Fhome%2Fimages secret ": func() error { _, err := client.ListFiles(ctx, "/home/images"); return err },
		"GET /wget?path=%2Fi&url=http%3A%2F%2Fa.example%2Fx%3Fy%3D1%26z%3D2 secret ": func() error {
			_, err := client.Download(ctx, controlledclient.DownloadOrder{URL: "http://a.example/x?y=1&z=2", Folder: "/i"})
			return err
		},
		`POST /importDisk secret {"vmid":110,"image_path":"/i/x","save_path":"local"}`: func() error {
			_, err := client.ImportDisk(ctx, controlledclient.ImportDisk{VMID: 110, ImagePath: "/i/x", SavePath: "local"})
			return err
		},
		"GET /operations/order-7 secret ":                    func() error { _, err := client.Operation(ctx, "order-7"); return err },
		`POST /readFile secret {"filename":"x","path":"/i"}`: func() error { _, err := client.ReadFile(ctx, "/i", "x"); return err },
		`POST /deleteFile secret {"file":"x","path":"/i"}`:   func() error { return client.DeleteFile(ctx, "/i", "x") },
		`POST /unlock secret {"vmid":110}`:                   func() error { return client.Unlock(ctx, 110) },
		"POST /update secret ":                               func() error { _, err := client.Update(ctx); return err },
		"GET /update secret ":                                func() error { _, err := client.LastUpdate(ctx); return err },
		`POST /vnc secret {"vnc_file_path":"/v","host":"h","port":59000,"username":"u","password":"p","time":60,"vmid":101}`: func() error {
			return client.StartVNC(ctx, controlledclient.VNC{File: "/v", Host: "h", Port: 59000, Token: "u", Password: "p", Time: 60, VMID: 101})
		},
		`POST /vnc/stop secret {"port":59000}`: func() error { return client.StopVNC(ctx, 59000) },
		`POST /vnc/import secret {"vnc_file_path":"/v","host":"h","port":59000,"username":"u","password":"p","time":60,"vmid":101}`: func() error {
			return client.ImportVNC(ctx, controlledclient.VNC{File: "/v", Host: "h", Port: 59000, Token: "u", Password: "p", Time: 60, VMID: 101})
		},
		`POST /changePassword secret {"id":108,"password":"p","username":"u"}`: func() error { return client.ChangePassword(ctx, 108, "u", "p") },
	} {
		if err := call(); err != nil {
			t.Errorf("%s: %v", want, err)
		}
		if got != want {
			t.Errorf("sent %q, want %q", got, want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for url, secret := range map[string]string{
		"http://127.0.0.1:7600": "s", "127.0.0.1:7600": "s", "https://": "s", "https://u:p@127.0.0.1": "s",
		"https://127.0.0.1:7600/x": "s", "https://127.0.0.1:7600/?x": "s", "https://127.0.0.1:7600": "",
	} {
		if _, err := controlledclient.New(url, secret, tlspin.Pin{}); err == nil {
			t.Errorf("%s with secret %q was taken", url, secret)
		}
	}
}

func FuzzReply(f *testing.F) {
	var body atomic.Value
	body.Store("")
	pair, pin, err := tlspin.Certificate(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, body.Load().(string))
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	f.Cleanup(server.Close)
	client, err := controlledclient.New(server.URL, "secret", pin)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(`{"code":200,"message":"success","data":{"file":"x","progress":"1.0%","state":"failed"}}`)
	f.Add(`{"code":500,"message":"x","data":{"state":"failed","error":"y"}}`)
	f.Add(`{"code":404,"data":[]}`)
	f.Add("{")
	f.Fuzz(func(t *testing.T, reply string) {
		body.Store(reply)
		download, err := client.Download(context.Background(), controlledclient.DownloadOrder{URL: "http://a.example/x", Folder: "/i"})
		var failure *controlledclient.Error
		if err != nil && (!errors.As(err, &failure) || failure.Kind == "" || download != (controlledclient.Download{})) {
			t.Errorf("%q gave %+v, %v", reply, download, err)
		}
		if err == nil && !json.Valid([]byte(reply)) {
			t.Errorf("%q was taken", reply)
		}
	})
}
