package hypervisor

// ImageVolume is an image that a node can import from.
type ImageVolume struct {
	Volume    string // PVE: local:import/debian-12.qcow2
	SizeBytes int64
}

// ImageFetch tells a node what to download.
type ImageFetch struct {
	FileName string
	URL      string
	// Checksum is "sha256:hex" or "sha512:hex"; empty = not checked.
	Checksum string
}
