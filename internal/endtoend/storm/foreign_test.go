package storm

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"gantry/internal/tlspin"
)

// plantForeign makes guests beside the broker, which has not seen them when it gives their VMIDs out: its next poll comes later.
func (s *scene) plantForeign(t *testing.T) {
	t.Helper()
	tokenID, secret := s.lab.RootToken()
	hypervisor := &http.Client{Transport: &http.Transport{TLSClientConfig: tlspin.Pinned(tlspin.Pin(s.lab.Fingerprint()))}}
	defer hypervisor.CloseIdleConnections()
	for vmid := firstVMID + foreignStep/2; vmid < firstVMID+orders; vmid += foreignStep {
		node := nodeName(vmid % nodes)
		form := url.Values{"vmid": {strconv.Itoa(vmid)}, "name": {"foreign"}, "scsi0": {"data:1"}}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.lab.URL()+"/api2/json/nodes/"+node+"/qemu", strings.NewReader(form.Encode()))
		check(t, err)
		request.Header.Set("Authorization", "PVEAPIToken="+tokenID+"="+secret)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		response, err := hypervisor.Do(request)
		check(t, err)
		check(t, response.Body.Close())
		if response.StatusCode != http.StatusOK {
			t.Fatalf("make the foreign guest %d: %s", vmid, response.Status)
		}
		eventually(t, fmt.Sprintf("the foreign guest %d is made", vmid), startPatience, func() error {
			guest, err := s.lab.Cluster().Guest(node, vmid)
			if err == nil && guest.Lock() != "" {
				err = errors.New("it is locked")
			}
			return err
		})
		s.foreign[vmid] = true
	}
}
