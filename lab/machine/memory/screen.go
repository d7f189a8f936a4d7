package memory

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"io"
	"net"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
)

const width, height = 640, 400

// screen is a guest's display: its name, and what was typed.
type screen struct {
	title string

	mu      sync.Mutex
	typed   []rune
	changed chan struct{} // closed and replaced at each change
}

func newScreen(name string, vmid int) *screen {
	return &screen{title: fmt.Sprintf("%s (VM %d)", name, vmid), changed: make(chan struct{})}
}

func (s *screen) key(symbol uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case symbol >= 0x20 && symbol < 0x7f:
		s.typed = append(s.typed, rune(symbol))
	case symbol == 0xff08 && len(s.typed) > 0: // BackSpace
		s.typed = s.typed[:len(s.typed)-1]
	case symbol == 0xff0d: // Return
		s.typed = nil
	default:
		return
	}
	if len(s.typed) > 60 {
		s.typed = s.typed[len(s.typed)-60:]
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *screen) reset() { s.key(0xff0d) }

// draw paints the picture and returns a channel that closes at the next change.
func (s *screen) draw() (*image.RGBA, <-chan struct{}) {
	s.mu.Lock()
	typed, changed := string(s.typed), s.changed
	s.mu.Unlock()
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(picture, picture.Bounds(), image.NewUniform(color.RGBA{16, 24, 48, 255}), image.Point{}, draw.Src)
	draw.Draw(picture, image.Rect(0, 0, width, 40), image.NewUniform(color.RGBA{229, 112, 0, 255}), image.Point{}, draw.Src)
	pen := &font.Drawer{Dst: picture, Face: basicfont.Face7x13}
	for _, line := range []struct {
		text string
		x, y int
		ink  color.Color
	}{
		{s.title, 16, 26, color.White},
		{"Gantry lab: a guest in memory", 16, 80, color.RGBA{160, 200, 255, 255}},
		{"login: " + typed + "_", 16, 120, color.White},
	} {
		pen.Src, pen.Dot = image.NewUniform(line.ink), fixed.P(line.x, line.y)
		pen.DrawString(line.text)
	}
	return picture, changed
}

// VNC connects to the guest's RFB server (RFC 6143, version 3.8, security type None).
func (p *process) VNC(context.Context) (net.Conn, error) {
	if err := p.running(); err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer far.Close()
		_ = serveRFB(far, p.screen)
	}()
	go func() {
		select {
		case <-p.done: // the screen goes with the guest
			_ = far.Close()
		case <-ended:
		}
	}()
	return near, nil
}

// pixelFormat is where the three colours lie in a pixel.
type pixelFormat struct {
	bytes                           int
	bigEndian                       bool
	redMax, greenMax, blueMax       uint16
	redShift, greenShift, blueShift uint8
}

func serveRFB(conn net.Conn, screen *screen) error {
	reader := bufio.NewReader(conn)
	if err := handshake(conn, reader, screen.title); err != nil {
		return err
	}
	format := pixelFormat{bytes: 4, redMax: 255, greenMax: 255, blueMax: 255, redShift: 16, greenShift: 8}
	var writing sync.Mutex
	update := func(format pixelFormat, picture *image.RGBA) error {
		writing.Lock()
		defer writing.Unlock()
		_, err := conn.Write(frame(format, picture))
		return err
	}
	closed := make(chan struct{})
	defer close(closed)
	for {
		kind, err := reader.ReadByte()
		if err != nil {
			return err
		}
		switch kind {
		case 0: // SetPixelFormat
			body, err := take(reader, 19)
			if err != nil {
				return err
			}
			format = readFormat(body[3:])
		case 2: // SetEncodings: Raw is always allowed
			body, err := take(reader, 3)
			if err != nil {
				return err
			}
			if _, err := take(reader, 4*int(binary.BigEndian.Uint16(body[1:]))); err != nil {
				return err
			}
		case 3: // FramebufferUpdateRequest
			body, err := take(reader, 9)
			if err != nil {
				return err
			}
			picture, changed := screen.draw()
			if body[0] == 0 {
				if err := update(format, picture); err != nil {
					return err
				}
				continue
			}
			go func(format pixelFormat) { // incremental: answered at the next change
				select {
				case <-changed:
					picture, _ := screen.draw()
					_ = update(format, picture)
				case <-closed:
				}
			}(format)
		case 4: // KeyEvent
			body, err := take(reader, 7)
			if err != nil {
				return err
			}
			if body[0] == 1 {
				screen.key(binary.BigEndian.Uint32(body[3:]))
			}
		case 5: // PointerEvent
			if _, err := take(reader, 5); err != nil {
				return err
			}
		case 6: // ClientCutText
			body, err := take(reader, 7)
			if err != nil {
				return err
			}
			if _, err := io.CopyN(io.Discard, reader, int64(binary.BigEndian.Uint32(body[3:]))); err != nil {
				return err
			}
		default:
			return fmt.Errorf("unknown RFB message %d", kind)
		}
	}
}

func take(reader *bufio.Reader, count int) ([]byte, error) {
	body := make([]byte, count)
	_, err := io.ReadFull(reader, body)
	return body, err
}

func handshake(conn net.Conn, reader *bufio.Reader, title string) error {
	if _, err := conn.Write([]byte("RFB 003.008\n")); err != nil {
		return err
	}
	if _, err := take(reader, 12); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{1, 1}); err != nil { // one security type: None
		return err
	}
	if _, err := take(reader, 1); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{0, 0, 0, 0}); err != nil {
		return err
	}
	if _, err := take(reader, 1); err != nil { // ClientInit
		return err
	}
	hello := binary.BigEndian.AppendUint16(nil, width)
	hello = binary.BigEndian.AppendUint16(hello, height)
	hello = append(hello, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0)
	hello = binary.BigEndian.AppendUint32(hello, uint32(len(title)))
	_, err := conn.Write(append(hello, title...))
	return err
}

func readFormat(body []byte) pixelFormat {
	return pixelFormat{bytes: max(int(body[0])/8, 1), bigEndian: body[2] != 0, redMax: binary.BigEndian.Uint16(body[4:]),
		greenMax: binary.BigEndian.Uint16(body[6:]), blueMax: binary.BigEndian.Uint16(body[8:]), redShift: body[10], greenShift: body[11],
		blueShift: body[12]}
}

// frame is a FramebufferUpdate with one raw rectangle.
func frame(format pixelFormat, picture *image.RGBA) []byte {
	out := make([]byte, 0, 16+width*height*format.bytes)
	out = append(out, 0, 0, 0, 1, 0, 0, 0, 0)
	out = binary.BigEndian.AppendUint16(out, width)
	out = binary.BigEndian.AppendUint16(out, height)
	out = append(out, 0, 0, 0, 0)
	for at := 0; at < len(picture.Pix); at += 4 {
		pixel := scale(picture.Pix[at], format.redMax)<<format.redShift | scale(picture.Pix[at+1], format.greenMax)<<format.greenShift |
			scale(picture.Pix[at+2], format.blueMax)<<format.blueShift
		switch {
		case format.bytes == 1:
			out = append(out, byte(pixel))
		case format.bytes == 2 && format.bigEndian:
			out = binary.BigEndian.AppendUint16(out, uint16(pixel))
		case format.bytes == 2:
			out = binary.LittleEndian.AppendUint16(out, uint16(pixel))
		case format.bigEndian:
			out = binary.BigEndian.AppendUint32(out, pixel)
		default:
			out = binary.LittleEndian.AppendUint32(out, pixel)
		}
	}
	return out
}

func scale(value byte, top uint16) uint32 { return uint32(value) * uint32(top) / 255 }
