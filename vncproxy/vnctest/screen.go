// Package vnctest stands in for hypervisors in tests and benchmarks: a VNC server that draws a known picture and hears keys,
// and Proxmox VE's vncwebsocket in front of it, as strict as the real one.
package vnctest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image/color"
	"io"
	"sync"

	"gantry/vncproxy/rfb"
)

// The picture: four quarters of plain colours, so that any scaling keeps them.
var (
	TopLeft     = color.RGBA{R: 0xd9, G: 0x2d, B: 0x20, A: 0xff}
	TopRight    = color.RGBA{R: 0x16, G: 0xa3, B: 0x4a, A: 0xff}
	BottomLeft  = color.RGBA{R: 0x25, G: 0x63, B: 0xeb, A: 0xff}
	BottomRight = color.RGBA{R: 0xfa, G: 0xcc, B: 0x15, A: 0xff}
)

// Width and Height of the picture in pixels.
const (
	Width  = 640
	Height = 400
)

// Screen is a VNC server with a picture. Set the fields before the first connection.
type Screen struct {
	// Password of VNC authentication; empty offers security type None.
	Password string
	// Refuse is a reason with which every connection is refused; empty = none.
	Refuse string
	// Flood, when set, sends bytes without end after ClientInit instead of talking RFB.
	Flood bool

	mu      sync.Mutex
	keys    []uint32
	cutText []byte
	changed chan struct{}
}

// Keys gives the key symbols pressed so far.
func (s *Screen) Keys() []uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]uint32(nil), s.keys...)
}

// CutText gives the last clipboard text that came.
func (s *Screen) CutText() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.cutText)
}

// Changed is closed at the next key press or clipboard text.
func (s *Screen) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

func (s *Screen) change(what func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what()
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// Serve talks to one viewer until it leaves.
func (s *Screen) Serve(viewer io.ReadWriter) error {
	if err := s.admit(viewer); err != nil {
		return err
	}
	var shared [1]byte
	if _, err := io.ReadFull(viewer, shared[:]); err != nil {
		return fmt.Errorf("read ClientInit: %w", err)
	}
	if s.Flood {
		return flood(viewer)
	}
	if _, err := viewer.Write(serverInit()); err != nil {
		return err
	}
	format := pixelFormat{redShift: 16, greenShift: 8, blueShift: 0}
	for {
		if err := s.message(viewer, &format); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// admit is RFB 3.8's opening (RFC 6143 §7.1), strict about what the viewer says.
func (s *Screen) admit(viewer io.ReadWriter) error {
	if _, err := io.WriteString(viewer, "RFB 003.008\n"); err != nil {
		return err
	}
	var version [12]byte
	if _, err := io.ReadFull(viewer, version[:]); err != nil {
		return err
	}
	if string(version[:]) != "RFB 003.008\n" {
		return fmt.Errorf("viewer speaks %q", version)
	}
	if s.Refuse != "" {
		refusal := append([]byte{0}, binary.BigEndian.AppendUint32(nil, uint32(len(s.Refuse)))...)
		_, err := viewer.Write(append(refusal, s.Refuse...))
		return err
	}
	security := byte(1)
	if s.Password != "" {
		security = 2
	}
	if _, err := viewer.Write([]byte{1, security}); err != nil {
		return err
	}
	var chosen [1]byte
	if _, err := io.ReadFull(viewer, chosen[:]); err != nil {
		return err
	}
	if chosen[0] != security {
		return fmt.Errorf("viewer chose security type %d", chosen[0])
	}
	if s.Password != "" {
		if err := s.challenge(viewer); err != nil {
			return err
		}
	}
	_, err := viewer.Write([]byte{0, 0, 0, 0})
	return err
}

func (s *Screen) challenge(viewer io.ReadWriter) error {
	challenge := [16]byte([]byte("gantry challenge"))
	if _, err := viewer.Write(challenge[:]); err != nil {
		return err
	}
	var response [16]byte
	if _, err := io.ReadFull(viewer, response[:]); err != nil {
		return err
	}
	if response != rfb.Response(s.Password, challenge) {
		const reason = "Authentication failed"
		failure := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 1}, uint32(len(reason)))
		_, err := viewer.Write(append(failure, reason...))
		return errors.Join(errors.New("wrong password"), err)
	}
	return nil
}

// message answers one client message (RFC 6143 §7.5).
func (s *Screen) message(viewer io.ReadWriter, format *pixelFormat) error {
	var kind [1]byte
	if _, err := io.ReadFull(viewer, kind[:]); err != nil {
		return err
	}
	switch kind[0] {
	case 0: // SetPixelFormat
		body, err := take(viewer, 19)
		if err != nil {
			return err
		}
		if body[3] != 32 {
			return fmt.Errorf("viewer wants %d bits a pixel", body[3])
		}
		*format = pixelFormat{redShift: body[13], greenShift: body[14], blueShift: body[15]}
	case 2: // SetEncodings
		head, err := take(viewer, 3)
		if err != nil {
			return err
		}
		_, err = take(viewer, 4*int(binary.BigEndian.Uint16(head[1:])))
		return err
	case 3: // FramebufferUpdateRequest
		body, err := take(viewer, 9)
		if err != nil {
			return err
		}
		if body[0] == 0 { // the picture does not change
			_, err = viewer.Write(picture(*format))
		}
		return err
	case 4: // KeyEvent
		body, err := take(viewer, 7)
		if err != nil {
			return err
		}
		if body[0] == 1 {
			s.change(func() { s.keys = append(s.keys, binary.BigEndian.Uint32(body[3:])) })
		}
	case 5: // PointerEvent
		_, err := take(viewer, 5)
		return err
	case 6: // ClientCutText
		head, err := take(viewer, 7)
		if err != nil {
			return err
		}
		text, err := take(viewer, int(binary.BigEndian.Uint32(head[3:])))
		if err != nil {
			return err
		}
		s.change(func() { s.cutText = text })
	default:
		return fmt.Errorf("viewer sent message type %d", kind[0])
	}
	return nil
}

func take(viewer io.Reader, length int) ([]byte, error) {
	body := make([]byte, length)
	_, err := io.ReadFull(viewer, body)
	return body, err
}

// flood sends zeros until the viewer leaves.
func flood(viewer io.Writer) error {
	zeros := make([]byte, 256<<10)
	for {
		if _, err := viewer.Write(zeros); err != nil {
			return err
		}
	}
}
