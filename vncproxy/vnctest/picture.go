package vnctest

import (
	"encoding/binary"
	"image/color"
)

// pixelFormat is what a viewer may choose of the 32-bit true colour format.
type pixelFormat struct{ redShift, greenShift, blueShift byte }

// serverInit is RFC 6143 §7.3.2: size, pixel format, name.
func serverInit() []byte {
	const name = "gantry test screen"
	message := binary.BigEndian.AppendUint16(nil, Width)
	message = binary.BigEndian.AppendUint16(message, Height)
	message = append(message,
		32, 24, 0, 1, // bits a pixel, depth, little endian, true colour
		0, 255, 0, 255, 0, 255, // maxima
		16, 8, 0, // shifts
		0, 0, 0)
	message = binary.BigEndian.AppendUint32(message, uint32(len(name)))
	return append(message, name...)
}

// picture is a FramebufferUpdate of the whole screen in one Raw rectangle (RFC 6143 §7.6.1, §7.7.1).
func picture(format pixelFormat) []byte {
	message := make([]byte, 0, 16+4*Width*Height)
	message = append(message, 0, 0, 0, 1)
	message = append(message, 0, 0, 0, 0)
	message = binary.BigEndian.AppendUint16(message, Width)
	message = binary.BigEndian.AppendUint16(message, Height)
	message = binary.BigEndian.AppendUint32(message, 0)
	for y := range Height {
		for x := range Width {
			c := ColourAt(x, y)
			pixel := uint32(c.R)<<format.redShift | uint32(c.G)<<format.greenShift | uint32(c.B)<<format.blueShift
			message = binary.LittleEndian.AppendUint32(message, pixel)
		}
	}
	return message
}

// ColourAt is the picture's colour at a pixel.
func ColourAt(x, y int) color.RGBA {
	switch left, top := x < Width/2, y < Height/2; {
	case left && top:
		return TopLeft
	case top:
		return TopRight
	case left:
		return BottomLeft
	default:
		return BottomRight
	}
}
