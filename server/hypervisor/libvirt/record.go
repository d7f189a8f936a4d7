package libvirt

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Gantry's part of a domain's metadata. libvirt keeps one element a namespace and leaves it alone.
const (
	recordSpace  = "urn:gantry:libvirt:guest:1"
	recordPrefix = "gantry"
)

// What a record's State says.
const (
	guestCreating = "creating" // claimed, its volumes are being made
	guestWhole    = ""
	guestDeleting = "deleting" // its volumes are being removed
)

// record is what Gantry remembers of a guest, on the guest itself: it is written before what it tells of is done, so that whatever
// dies in the middle leaves nothing unknown behind.
type record struct {
	XMLName xml.Name `xml:"guest"`
	State   string   `xml:"state,attr,omitempty"`
	// CPU, KVM and OS are what was ordered, where the hardware that came of it depends on the host.
	CPU        string            `xml:"cpu,attr,omitempty"`
	KVM        bool              `xml:"kvm,attr,omitempty"`
	OS         string            `xml:"os,attr,omitempty"`
	Addresses  string            `xml:"addresses,attr,omitempty"` // that the anti-spoofing filter lets through, space-separated
	Volumes    []recordVolume    `xml:"volume"`
	Operations []recordOperation `xml:"operation"`
}

// recordVolume is a volume that Gantry made for the guest, or was given with it. Only these are ever deleted.
type recordVolume struct {
	Name string `xml:"name,attr"` // pool:volume
	// Path is empty until the volume is known to be whole.
	Path string `xml:"path,attr,omitempty"`
	// Seed marks a cloud-init drive, which is not a disk.
	Seed bool `xml:"seed,attr,omitempty"`
	// Claimed marks a volume of a guest that was taken over: others made it, and the operator said that it may go with the guest.
	Claimed bool `xml:"claimed,attr,omitempty"`
}

// recordOperation is the newest operation of its kind.
type recordOperation struct {
	ID     string `xml:"id,attr"`
	Runner string `xml:"runner,attr,omitempty"` // who is at it; empty = ended
	Until  int64  `xml:"until,attr,omitempty"`  // Unix seconds up to which the runner's word holds
	Kind   string `xml:"error,attr,omitempty"`  // broker.Kind of its failure
	Detail string `xml:"detail,attr,omitempty"`
}

func (r *record) volume(name string) *recordVolume {
	for i := range r.Volumes {
		if r.Volumes[i].Name == name {
			return &r.Volumes[i]
		}
	}
	return nil
}

func (r *record) forget(name string) {
	r.Volumes = slices.DeleteFunc(r.Volumes, func(each recordVolume) bool { return each.Name == name })
}

func (r *record) operation(id string) *recordOperation {
	for i := range r.Operations {
		if r.Operations[i].ID == id {
			return &r.Operations[i]
		}
	}
	return nil
}

// note puts an operation down in place of the one of its kind before.
func (r *record) note(operation recordOperation) {
	kind, _, _ := strings.Cut(operation.ID, ":")
	r.Operations = slices.DeleteFunc(r.Operations, func(each recordOperation) bool { return strings.HasPrefix(each.ID, kind+":") })
	r.Operations = append(r.Operations, operation)
}

// plain is the element without a namespace, as virDomainSetMetadata wants it.
func (r *record) plain() (string, error) {
	text, err := xml.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("write guest record: %w", err)
	}
	return string(text), nil
}

// qualified is the element as it stands in a domain's metadata.
func (r *record) qualified() (string, error) {
	text, err := r.plain()
	if err != nil {
		return "", err
	}
	rest, ok := strings.CutPrefix(text, "<guest")
	if !ok {
		return "", errors.New("write guest record: unexpected form")
	}
	// A default namespace covers the children as well as a prefix on each of them would.
	return `<guest xmlns="` + recordSpace + `"` + rest, nil
}

// parseRecord finds Gantry's element in a domain's metadata; nil when there is none, as in domains that others made.
func parseRecord(metadata string) (*record, error) {
	start, end, err := findRecord(metadata)
	if err != nil || start == end {
		return nil, err
	}
	parsed := &record{}
	if err := xml.Unmarshal([]byte(metadata[start:end]), parsed); err != nil {
		return nil, fmt.Errorf("read guest record: %w", err)
	}
	parsed.XMLName = xml.Name{Local: "guest"}
	return parsed, nil
}

// replaceRecord puts the record into a domain's metadata and keeps what others have put there.
func replaceRecord(metadata string, r *record) (string, error) {
	start, end, err := findRecord(metadata)
	if err != nil {
		return "", err
	}
	text, err := r.qualified()
	if err != nil {
		return "", err
	}
	return metadata[:start] + text + metadata[end:], nil
}

// findRecord tells where Gantry's element begins and ends; twice the end of the metadata when there is none.
func findRecord(metadata string) (start, end int64, err error) {
	decoder := xml.NewDecoder(strings.NewReader(metadata))
	for {
		before := decoder.InputOffset()
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return int64(len(metadata)), int64(len(metadata)), nil
		}
		if err != nil {
			return 0, 0, fmt.Errorf("read domain metadata: %w", err)
		}
		element, is := token.(xml.StartElement)
		if !is {
			continue
		}
		if err := decoder.Skip(); err != nil {
			return 0, 0, fmt.Errorf("read domain metadata: %w", err)
		}
		if element.Name.Space == recordSpace && element.Name.Local == "guest" {
			return before, decoder.InputOffset(), nil
		}
	}
}
