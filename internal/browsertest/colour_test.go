package browsertest

import (
	"image"
	"image/color"
	"testing"
)

func TestShareAndBlank(t *testing.T) {
	picture := image.NewRGBA(image.Rect(0, 0, 10, 10))
	if !Blank(picture) {
		t.Error("a picture of one colour is not blank")
	}
	for x := range 10 {
		picture.SetRGBA(x, 0, color.RGBA{R: 200, G: 100, B: 50, A: 255})
	}
	if Blank(picture) {
		t.Error("a picture of two colours is blank")
	}
	for _, row := range []struct {
		want      color.RGBA
		tolerance int
		share     float64
	}{
		{color.RGBA{R: 200, G: 100, B: 50}, 0, 0.1},
		{color.RGBA{R: 205, G: 95, B: 50}, 5, 0.1},
		{color.RGBA{R: 206, G: 95, B: 50}, 5, 0},
		{color.RGBA{}, 0, 0.9},
	} {
		if got := Share(picture, row.want, row.tolerance); got != row.share {
			t.Errorf("Share(%v, %d) = %v, want %v", row.want, row.tolerance, got, row.share)
		}
	}
}
