package worker

import "testing"

func TestParseUPID(t *testing.T) {
	for _, fact := range []struct {
		text            string
		good            bool
		id, user, token string
	}{
		{"UPID:pve1:0000019A:0002FFAE:6B01F367:qmstart:998:root@pam!lab:", true, "998", "root@pam", "lab"},
		{"UPID:pve1:000003CC:000361EB:6B01F462:imgcopy::root@pam:", true, "", "root@pam", ""},
		{"UPID:pve1:000002D3:100031E67:6B01F3B5:qmmove:522-scsi0>503-scsi3:root@pam!lab:", true, "522-scsi0>503-scsi3", "root@pam", "lab"},
		{"UPID:pve1:000003CE:000361EF:6B01F462:imgdel:110@local:root@pam:", true, "110@local", "root@pam", ""},
		{"foo", false, "", "", ""},
		{"UPID:pve1:19A:0002FFAE:6B01F367:qmstart:998:root@pam:", false, "", "", ""},
		{"UPID:pve1:0000019A:0002FFAE:6B01F367:qmstart:998:root@pam", false, "", "", ""},
		{"UPID:a_b:0000019A:0002FFAE:6B01F367:qmstart:998:root@pam:", false, "", "", ""},
	} {
		id, err := ParseUPID(fact.text)
		if (err == nil) != fact.good {
			t.Errorf("%s: %v", fact.text, err)
			continue
		}
		user, token := id.Owner()
		if fact.good && (id.ID != fact.id || user != fact.user || token != fact.token || id.String() != fact.text) {
			t.Errorf("%s: %+v %s", fact.text, id, id)
		}
	}
}

func FuzzParseUPID(f *testing.F) {
	f.Add("UPID:pve1:0000019A:0002FFAE:6B01F367:qmstart:998:root@pam!lab:")
	f.Add("UPID:pve1:000002D3:100031E67:6B01F3B5:qmmove:522-scsi0>503-scsi3:root@pam!lab:")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseUPID(text)
		if err != nil {
			return
		}
		again, err := ParseUPID(id.String())
		if err != nil || again != id {
			t.Errorf("%q became %q: %v", text, id.String(), err)
		}
	})
}
