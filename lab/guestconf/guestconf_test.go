package guestconf

import "testing"

// The facts are from the specification of crypt with SHA-256.
func TestHashPasswordIsCryptSHA256(t *testing.T) {
	for _, fact := range []struct{ password, salt, hash string }{
		{"Hello world!", "saltstring", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"},
	} {
		got := HashPassword(fact.password, fact.salt)
		if got != fact.hash {
			t.Errorf("HashPassword(%q, %q) = %s, want %s", fact.password, fact.salt, got, fact.hash)
		}
	}
}

func TestConfigSurvivesItsFile(t *testing.T) {
	config := New()
	config.Values = Section{"name": "web", "description": "a b\nc%: d", "memory": "256", "scsi0": "local:1/x.qcow2,size=1G"}
	config.Pending = Section{"cores": "2"}
	config.PendingDelete = map[string]bool{"net0": false, "scsi1": true}
	config.Snapshots["a1"] = Section{"name": "old", "description": "x"}
	again := Parse(config.Render())
	if again.Render() != config.Render() || again.Digest() != config.Digest() {
		t.Errorf("read back:\n%s\nwritten:\n%s", again.Render(), config.Render())
	}
	if again.Values["description"] != "a b\nc%: d" || !again.PendingDelete["scsi1"] || again.Snapshots["a1"]["name"] != "old" {
		t.Errorf("lost something: %#v", again)
	}
}

func TestSizes(t *testing.T) {
	for text, bytes := range map[string]int64{"48M": 48 << 20, "2G": 2 << 30, "1.5G": 3 << 29, "4096": 4096, "": 0, "x": 0} {
		if got := ParseSize(text); got != bytes {
			t.Errorf("ParseSize(%q) = %d, want %d", text, got, bytes)
		}
	}
	for bytes, text := range map[int64]string{48 << 20: "48M", 2 << 30: "2G", 1000: "1000", 1 << 40: "1T", 0: "0"} {
		if got := FormatSize(bytes); got != text {
			t.Errorf("FormatSize(%d) = %s, want %s", bytes, got, text)
		}
	}
}

func TestNetKeepsWhatItWasGiven(t *testing.T) {
	for _, text := range []string{"virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1,tag=5", "e1000=aa:bb:cc:dd:ee:ff,bridge=vmbr0", "virtio"} {
		if got := ParseNet("net0", text).String(); got != text {
			t.Errorf("%s became %s", text, got)
		}
	}
}
