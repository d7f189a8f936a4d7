package memory

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// consoleWait is how long a console target can be dialled, as long as PVE's vncproxy listens.
const consoleWait = 10 * time.Second

// Console opens a loopback listener that takes one connection and shows a blank screen.
func (d *driver) Console(ctx context.Context, ref hypervisor.GuestRef) (hypervisor.ConsoleTarget, error) {
	var name string
	_, err := d.change(ctx, Call{Method: "Console", Guest: ref.ID, Node: ref.Node}, func(Fault) (hypervisor.Operation, error) {
		found, err := d.cluster.owned(ref)
		if err != nil {
			return hypervisor.Operation{}, err
		}
		if !d.Info().Capabilities.Console {
			return hypervisor.Operation{}, unsupported("screens")
		}
		if found.power != hypervisor.PowerRunning {
			return hypervisor.Operation{}, broker.Because(broker.Conflict, broker.ReasonVMNotRunning, ref.ID)
		}
		name = found.spec.Name
		return hypervisor.Operation{}, nil
	})
	if err != nil {
		return hypervisor.ConsoleTarget{}, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return hypervisor.ConsoleTarget{}, &broker.Error{Kind: broker.Failed, Detail: "no console port is free", Err: err}
	}
	go serveScreen(listener, name)
	return hypervisor.ConsoleTarget{Network: "tcp", Address: listener.Addr().String()}, nil
}

func serveScreen(listener net.Listener, name string) {
	defer listener.Close()
	if err := listener.(*net.TCPListener).SetDeadline(time.Now().Add(consoleWait)); err != nil {
		return
	}
	connection, err := listener.Accept()
	if err != nil {
		return
	}
	defer connection.Close()
	_ = showScreen(connection, name) // the viewer went away: nobody is left to tell
}

const screenWidth, screenHeight = 64, 48

// showScreen speaks RFB 3.8 (RFC 6143 §7): version, security "None", a blank 32 bit screen for every update request.
func showScreen(viewer io.ReadWriter, name string) error {
	if _, err := io.WriteString(viewer, "RFB 003.008\n"); err != nil {
		return err
	}
	if err := discard(viewer, 12); err != nil {
		return err
	}
	if _, err := viewer.Write([]byte{1, 1}); err != nil { // one security type: None
		return err
	}
	if err := discard(viewer, 1); err != nil {
		return err
	}
	if _, err := viewer.Write([]byte{0, 0, 0, 0}); err != nil { // SecurityResult OK
		return err
	}
	if err := discard(viewer, 1); err != nil { // ClientInit
		return err
	}
	if _, err := viewer.Write(serverInit(name)); err != nil {
		return err
	}
	for {
		wanted, err := readMessage(viewer)
		if err != nil {
			return err
		}
		if !wanted {
			continue
		}
		if _, err := viewer.Write(blankUpdate()); err != nil {
			return err
		}
	}
}

func serverInit(name string) []byte {
	out := binary.BigEndian.AppendUint16(nil, screenWidth)
	out = binary.BigEndian.AppendUint16(out, screenHeight)
	out = append(out, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0) // 32 bpp, true colour, 8:8:8
	out = binary.BigEndian.AppendUint32(out, uint32(len(name)))
	return append(out, name...)
}

func blankUpdate() []byte {
	out := []byte{0, 0, 0, 1, 0, 0, 0, 0}
	out = binary.BigEndian.AppendUint16(out, screenWidth)
	out = binary.BigEndian.AppendUint16(out, screenHeight)
	out = append(out, 0, 0, 0, 0) // raw encoding
	return append(out, make([]byte, screenWidth*screenHeight*4)...)
}

// readMessage reads one client message (RFC 6143 §7.5) and tells whether it asks for an update.
func readMessage(viewer io.Reader) (bool, error) {
	var head [4]byte
	if _, err := io.ReadFull(viewer, head[:1]); err != nil {
		return false, err
	}
	switch head[0] {
	case 0: // SetPixelFormat
		return false, discard(viewer, 19)
	case 2: // SetEncodings
		if _, err := io.ReadFull(viewer, head[:3]); err != nil {
			return false, err
		}
		return false, discard(viewer, 4*int64(binary.BigEndian.Uint16(head[1:3])))
	case 3: // FramebufferUpdateRequest
		return true, discard(viewer, 9)
	case 4: // KeyEvent
		return false, discard(viewer, 7)
	case 5: // PointerEvent
		return false, discard(viewer, 5)
	case 6: // ClientCutText
		var length [7]byte
		if _, err := io.ReadFull(viewer, length[:]); err != nil {
			return false, err
		}
		return false, discard(viewer, int64(binary.BigEndian.Uint32(length[3:])))
	}
	return false, io.ErrUnexpectedEOF
}

func discard(from io.Reader, count int64) error {
	_, err := io.CopyN(io.Discard, from, count)
	return err
}
