package libvirt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket"

	"gantry/server/broker"
)

// Uploads are made here on go-libvirt's socket layer: its own StorageVolUpload never returns when the source, the host or the
// connection fails half-way (requestStream waits on channels that nobody serves any more), and that is what downloads do.

// Numbers of src/remote/remote_protocol.x and src/rpc/virnetprotocol.x.
const (
	remoteProgram = 0x20008086
	procOpen      = 1
	procAuthList  = 66
	procPolkit    = 70
	procUpload    = 208
	authNone      = 0
	authPolkit    = 2
)

// stream is a connection for one upload.
type stream struct {
	socket  *socket.Socket
	serial  int32
	answers chan answer
	over    chan struct{}
}

type answer struct {
	status  uint32
	payload []byte
}

// Route takes what the host sends; go-libvirt's socket calls it.
func (s *stream) Route(header *socket.Header, payload []byte) {
	if header.Program != remoteProgram || (header.Type != socket.Reply && header.Type != socket.Stream) {
		return
	}
	select {
	case s.answers <- answer{header.Status, payload}:
	case <-s.over:
	}
}

// await gives the next answer; gone ends with the connection.
func (s *stream) await(gone <-chan struct{}) (answer, error) {
	select {
	case got := <-s.answers:
		if got.status == socket.StatusError {
			return got, remoteError(got.payload)
		}
		return got, nil
	case <-gone:
		return answer{}, golibvirt.ErrInterrupted
	}
}

func (s *stream) call(gone <-chan struct{}, procedure uint32, payload []byte) (answer, error) {
	s.serial++
	if err := s.socket.SendPacket(s.serial, procedure, remoteProgram, payload, socket.Call, socket.StatusOK); err != nil {
		return answer{}, err
	}
	return s.await(gone)
}

// upload writes size bytes of source into a volume, or all of it when size is 0; fewer in source are an error. Nothing is known of the
// volume's content after one.
func (d *driver) upload(ctx context.Context, volume golibvirt.StorageVol, source io.Reader, size uint64) error {
	select {
	case d.client.transfers <- struct{}{}:
	case <-ctx.Done():
		return lost(ctx.Err(), false)
	}
	defer func() { <-d.client.transfers }()
	plain, err := d.client.transport.dial(ctx)
	if err != nil {
		return unreachable(err)
	}
	conn := newFrameConn(plain)
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	s := &stream{answers: make(chan answer, 4), over: make(chan struct{})}
	defer close(s.over)
	s.socket = socket.New(dialed{conn}, s)
	if err := s.socket.Connect(); err != nil {
		return unreachable(err)
	}
	if err := s.handshake(conn.gone); err != nil {
		return failure(err, false)
	}
	err = s.send(conn.gone, volume, source, size)
	var broken *sourceError
	if errors.As(err, &broken) {
		return broken.error
	}
	return failure(err, true)
}

// sourceError is a failure of what is uploaded, not of the connection.
type sourceError struct{ error }

func (s *stream) handshake(gone <-chan struct{}) error {
	got, err := s.call(gone, procAuthList, nil)
	if err != nil {
		return err
	}
	kinds, ok := parseAuthList(got.payload)
	if !ok {
		return errNotLibvirt
	}
	switch {
	case len(kinds) == 0 || slices.Contains(kinds, authNone):
	case slices.Contains(kinds, authPolkit):
		if _, err := s.call(gone, procPolkit, nil); err != nil {
			return err
		}
	default:
		return broker.Errorf(broker.HypervisorAuth, "libvirtd wants an authentication that is not supported (%d)", kinds[0])
	}
	var open bytes.Buffer
	_ = binary.Write(&open, binary.BigEndian, uint32(1)) // a name is given
	writeString(&open, string(golibvirt.QEMUSystem))
	_ = binary.Write(&open, binary.BigEndian, uint32(0)) // flags
	_, err = s.call(gone, procOpen, open.Bytes())
	return err
}

const uploadChunk = 256 << 10

func (s *stream) send(gone <-chan struct{}, volume golibvirt.StorageVol, source io.Reader, size uint64) error {
	var request bytes.Buffer
	writeString(&request, volume.Pool)
	writeString(&request, volume.Name)
	writeString(&request, volume.Key)
	_ = binary.Write(&request, binary.BigEndian, uint64(0)) // offset
	_ = binary.Write(&request, binary.BigEndian, size)
	_ = binary.Write(&request, binary.BigEndian, uint32(0)) // flags
	if _, err := s.call(gone, procUpload, request.Bytes()); err != nil {
		return err
	}
	chunk := make([]byte, uploadChunk)
	for left := size; size == 0 || left > 0; {
		wanted := uint64(uploadChunk)
		if size > 0 {
			wanted = min(left, uploadChunk)
		}
		n, err := io.ReadFull(source, chunk[:wanted])
		last := size == 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF))
		if err != nil && !last {
			return &sourceError{err} // closing the connection makes libvirtd give up the stream
		}
		left -= uint64(n)
		if n == 0 {
			break
		}
		select {
		case got := <-s.answers: // an early answer is a refusal
			if got.status == socket.StatusError {
				return remoteError(got.payload)
			}
		default:
		}
		if err := s.socket.SendPacket(s.serial, procUpload, remoteProgram, chunk[:n], socket.Stream, socket.StatusContinue); err != nil {
			return err
		}
		if last {
			break
		}
	}
	if err := s.socket.SendPacket(s.serial, procUpload, remoteProgram, nil, socket.Stream, socket.StatusOK); err != nil {
		return err
	}
	_, err := s.await(gone)
	return err
}

// writeString is XDR's string: length, bytes, padding to four (RFC 4506 §4.11).
func writeString(into *bytes.Buffer, text string) {
	_ = binary.Write(into, binary.BigEndian, uint32(len(text)))
	into.WriteString(text)
	into.Write(make([]byte, (4-len(text)%4)%4))
}

func parseAuthList(payload []byte) ([]int32, bool) {
	if len(payload) < 4 {
		return nil, false
	}
	count := binary.BigEndian.Uint32(payload)
	if count > 20 || len(payload) < 4+4*int(count) { // REMOTE_AUTH_TYPE_LIST_MAX
		return nil, false
	}
	out := make([]int32, count)
	for i := range out {
		out[i] = int32(binary.BigEndian.Uint32(payload[4+4*i:]))
	}
	return out, true
}

// remoteError reads the beginning of remote_error: code, domain, and the message, which is optional.
func remoteError(payload []byte) error {
	if len(payload) < 12 {
		return errNotLibvirt
	}
	out := golibvirt.Error{Code: binary.BigEndian.Uint32(payload)}
	if binary.BigEndian.Uint32(payload[8:]) == 1 {
		rest := payload[12:]
		if len(rest) < 4 {
			return errNotLibvirt
		}
		length := binary.BigEndian.Uint32(rest)
		if uint64(length) > uint64(len(rest)-4) {
			return errNotLibvirt
		}
		out.Message = string(rest[4 : 4+length])
	}
	return out
}
