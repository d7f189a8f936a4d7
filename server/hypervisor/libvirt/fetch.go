package libvirt

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"syscall"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

const (
	fetchPatience    = 6 * time.Hour
	responsePatience = time.Minute
	silencePatience  = 2 * time.Minute
	headBytes        = 64 << 10
	smallestDisk     = 512
)

// FetchImage downloads in this process and passes the image on to the host: libvirt can't download. One that is there already is
// success. What fetches that died left behind is removed first; one that is still being written is left alone by libvirt itself.
func (d *driver) FetchImage(ctx context.Context, node string, image hypervisor.ImageFetch) (hypervisor.Operation, error) {
	if err := hypervisor.CheckFetch(image); err != nil {
		return hypervisor.Operation{}, err
	}
	switch strings.ToLower(path.Ext(image.FileName)) {
	case ".qcow2", ".img", ".raw":
	default:
		return hypervisor.Operation{}, broker.InvalidField("fileName", "must end in .qcow2, .img or .raw")
	}
	facts, err := d.atNode(ctx, node)
	if err != nil {
		return hypervisor.Operation{}, err
	}
	pool, err := d.imagePool(ctx)
	if err != nil {
		return hypervisor.Operation{}, err
	}
	id := newOperationID(hypervisor.OperationFetch, 0, d.now())
	claimed, err := d.jobs.claim(id)
	if err != nil {
		return hypervisor.Operation{}, err
	}
	d.jobs.run(claimed, d.now, func(ctx context.Context, report func(float64)) ([]string, error) {
		ctx, cancel := context.WithTimeout(ctx, fetchPatience)
		defer cancel()
		return nil, d.fetch(ctx, pool, id.stamp(), image, report)
	})
	return hypervisor.Operation{ID: id.text, Node: facts.name}, nil
}

func (d *driver) fetch(ctx context.Context, pool golibvirt.StoragePool, stamp string, image hypervisor.ImageFetch, report func(float64)) error {
	stored, err := d.images(ctx, pool)
	if err != nil {
		return err
	}
	for _, each := range stored {
		if each.file != image.FileName {
			continue
		}
		if each.format != "" {
			return nil
		}
		if d.fetching(each.stamp) {
			continue
		}
		err := change(ctx, d.client, func(l *rpc) error { return l.StorageVolDelete(each.volume, 0) })
		if broker.Is(err, broker.Locked) {
			return broker.Errorf(broker.Locked, "%s is being fetched by somebody else", image.FileName)
		}
		if err != nil && !broker.Is(err, broker.NotFound) {
			return fmt.Errorf("remove a partial %s: %w", image.FileName, err)
		}
	}
	body, size, err := d.download(ctx, image.URL)
	if err != nil {
		return err
	}
	defer body.Close()
	return d.store(ctx, pool, stamp, image, body, size, report)
}

// fetching tells whether a fetch of this process is at work with the stamp.
func (d *driver) fetching(stamp string) bool {
	d.jobs.mu.Lock()
	defer d.jobs.mu.Unlock()
	for _, each := range d.jobs.all {
		if each.id.kind == hypervisor.OperationFetch && !each.state.Finished && each.id.stamp() == stamp {
			return true
		}
	}
	return false
}

// store writes the image, and its mark when it came whole and is what it should be.
func (d *driver) store(ctx context.Context, pool golibvirt.StoragePool, stamp string, image hypervisor.ImageFetch, body io.Reader, size int64, report func(float64)) (err error) {
	source := bufio.NewReaderSize(body, headBytes)
	head, err := source.Peek(headBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return downloadFailed(err)
	}
	format, err := imageFormat(head)
	if err != nil {
		return err
	}
	name := imagePrefix + stamp + "-" + image.FileName
	text, err := volumeXML(name, raw, smallestDisk, imageFile{})
	if err != nil {
		return err
	}
	volume, err := ask(ctx, d.client, func(l *rpc) (golibvirt.StorageVol, error) { return l.StorageVolCreateXML(pool, text, 0) })
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			return
		}
		cleaning, cancel := context.WithTimeout(context.WithoutCancel(ctx), endPatience)
		defer cancel()
		_ = d.insist(cleaning, func() error { // what stays is partial, and the next fetch's to remove
			return change(cleaning, d.client, func(l *rpc) error { return l.StorageVolDelete(volume, 0) })
		})
	}()
	sum, wanted := checksum(image.Checksum)
	counted := &progress{reader: source, total: size, report: report}
	if err := d.upload(ctx, volume, io.TeeReader(counted, sum), uint64(max(size, 0))); err != nil {
		if broker.KindOf(err) == broker.Internal {
			return downloadFailed(err)
		}
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); wanted != "" && got != wanted {
		return broker.Errorf(broker.Failed, "checksum of %s is %s, not %s", image.FileName, got, wanted)
	}
	// libvirt looks at what was written: format and size that a guest sees. The size is asked for when it is needed, so a refusal is no
	// harm; it refuses while another volume of the pool is being made.
	_ = d.insist(ctx, func() error {
		return change(ctx, d.client, func(l *rpc) error { return l.StoragePoolRefresh(pool, 0) })
	})
	mark, err := volumeXML(name+"."+format+imageDone, raw, smallestDisk, imageFile{})
	if err != nil {
		return err
	}
	_, err = ask(ctx, d.client, func(l *rpc) (golibvirt.StorageVol, error) { return l.StorageVolCreateXML(pool, mark, 0) })
	return err
}

func checksum(wanted string) (hash.Hash, string) {
	algorithm, sum, _ := strings.Cut(wanted, ":")
	if algorithm == "sha512" {
		return sha512.New(), strings.ToLower(sum)
	}
	return sha256.New(), strings.ToLower(sum)
}

// magics of formats that QEMU would open by guess and that can name other files of the host.
var magics = map[string]string{
	"KDMV": "VMDK", "COWD": "VMDK", "# Disk DescriptorFile": "VMDK", "conectix": "VHD", "vhdxfile": "VHDX", "QED\x00": "QED",
	"<<< Oracle VM VirtualBox": "VDI", "WithoutFreeSpace": "Parallels", "WithouFreSpacExt": "Parallels", "LUKS\xba\xbe": "LUKS",
	"\x1f\x8b": "gzip", "\xfd7zXZ": "xz", "BZh": "bzip2", "\x28\xb5\x2f\xfd": "zstd", "PK\x03\x04": "zip",
}

// imageFormat tells qcow2 from raw by the first bytes. A qcow2 that stands on another file, or keeps its data in one, is refused: it
// would show the guest files of the host.
func imageFormat(head []byte) (string, error) {
	if len(head) < smallestDisk {
		return "", broker.Errorf(broker.Failed, "the download is no disk image: it has %d bytes", len(head))
	}
	if !bytes.HasPrefix(head, []byte("QFI\xfb")) {
		for magic, name := range magics {
			if bytes.HasPrefix(head, []byte(magic)) {
				return "", broker.Errorf(broker.Failed, "the download is in %s format: only qcow2 and raw can be used", name)
			}
		}
		return raw, nil
	}
	version := binary.BigEndian.Uint32(head[4:])
	switch {
	case version != 2 && version != 3:
		return "", broker.Errorf(broker.Failed, "the image is qcow2 of version %d: only 2 and 3 are known", version)
	case binary.BigEndian.Uint64(head[8:]) != 0:
		return "", broker.Errorf(broker.Failed, "the image stands on another file, which is not allowed")
	case binary.BigEndian.Uint32(head[32:]) != 0:
		return "", broker.Errorf(broker.Failed, "the image is encrypted")
	case version == 3 && binary.BigEndian.Uint64(head[72:])&4 != 0:
		return "", broker.Errorf(broker.Failed, "the image keeps its data in another file, which is not allowed")
	}
	return qcow2, nil
}

// progress counts what was read.
type progress struct {
	reader io.Reader
	total  int64
	done   int64
	report func(float64)
}

func (p *progress) Read(into []byte) (int, error) {
	n, err := p.reader.Read(into)
	p.done += int64(n)
	if p.total > 0 {
		p.report(float64(p.done) / float64(p.total) * 0.99) // the rest is checking
	}
	return n, err
}

func downloadFailed(err error) error {
	return &broker.Error{Kind: broker.Failed, Detail: "the image could not be downloaded: " + err.Error(), Err: err}
}

// download asks for an image. size is negative when the server does not tell.
func (d *driver) download(ctx context.Context, address string) (io.ReadCloser, int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, 0, downloadFailed(err)
	}
	request.Header.Set("Accept-Encoding", "identity") // the checksum is of the file
	dialer := &net.Dialer{Timeout: connectPatience, Control: d.allowDownload}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: responsePatience, TLSHandshakeTimeout: connectPatience, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return silenced{conn}, nil
		},
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return nil, 0, downloadFailed(err)
	}
	if response.StatusCode != http.StatusOK {
		_ = response.Body.Close()
		return nil, 0, broker.Errorf(broker.Failed, "the image could not be downloaded: the server answered %s", response.Status)
	}
	return response.Body, response.ContentLength, nil
}

// silenced gives up on a peer that sends nothing for a while.
type silenced struct{ net.Conn }

func (s silenced) Read(into []byte) (int, error) {
	if err := s.SetReadDeadline(time.Now().Add(silencePatience)); err != nil {
		return 0, err
	}
	return s.Conn.Read(into)
}

// allowDownload refuses addresses of this machine and of its link, where metadata services live, unless the operator allowed them. It
// sees the address that is really dialled, after redirects and name resolution.
func (d *driver) allowDownload(_, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := target.Addr().Unmap()
	if ip.IsUnspecified() || ip.IsMulticast() {
		return fmt.Errorf("%s is no address to download from", ip)
	}
	if (ip.IsLoopback() || ip.IsLinkLocalUnicast()) && !d.options.localDownloads {
		return fmt.Errorf("%s belongs to this machine or its link: allow it in the cluster's settings", ip)
	}
	return nil
}

// fetchState looks for the image that a fetch of another process was to make.
func (d *driver) fetchState(ctx context.Context, id operationID) (hypervisor.OperationState, error) {
	image, err := d.fetched(ctx, func(each storedImage) bool { return each.stamp == id.stamp() && each.format != "" })
	if err != nil {
		return hypervisor.OperationState{}, err
	}
	if image == nil {
		return hypervisor.OperationState{}, unknownOperation(id.text)
	}
	return hypervisor.OperationState{Finished: true, Progress: 1}, nil
}

func (d *driver) newestFetch(ctx context.Context) (*operationID, error) {
	image, err := d.fetched(ctx, func(each storedImage) bool { return each.format != "" })
	if err != nil || image == nil {
		return nil, err
	}
	started, nonce, _ := strings.Cut(image.stamp, "-")
	id, ok := parseOperationID(fmt.Sprintf("%s:0:%s:%s", hypervisor.OperationFetch, started, nonce))
	if !ok {
		return nil, nil
	}
	return &id, nil
}

// fetched gives the newest image that fits; nil without one, or without a pool for images.
func (d *driver) fetched(ctx context.Context, fits func(storedImage) bool) (*storedImage, error) {
	pool, err := d.imagePool(ctx)
	if broker.Is(err, broker.Unsupported) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	images, err := d.images(ctx, pool)
	if err != nil {
		return nil, err
	}
	var newest *storedImage
	for i := range images {
		if fits(images[i]) {
			newest = &images[i] // they come oldest first
		}
	}
	return newest, nil
}
