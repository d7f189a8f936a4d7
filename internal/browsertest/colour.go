package browsertest

import (
	"image"
	"image/color"
)

// Share is the part of a picture, 0 to 1, whose colour is near the given one: within tolerance in each of red, green, blue.
func Share(picture image.Image, want color.RGBA, tolerance int) float64 {
	bounds := picture.Bounds()
	count := 0
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			red, green, blue, _ := picture.At(x, y).RGBA()
			if near(red, want.R, tolerance) && near(green, want.G, tolerance) && near(blue, want.B, tolerance) {
				count++
			}
		}
	}
	return float64(count) / float64(bounds.Dx()*bounds.Dy())
}

func near(got uint32, want uint8, tolerance int) bool {
	difference := int(got>>8) - int(want)
	return difference <= tolerance && -difference <= tolerance
}

// Blank tells that a picture has one colour only.
func Blank(picture image.Image) bool {
	bounds := picture.Bounds()
	first := picture.At(bounds.Min.X, bounds.Min.Y)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			if picture.At(x, y) != first {
				return false
			}
		}
	}
	return true
}
