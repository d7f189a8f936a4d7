package vncproxy

import "sync"

// Sizes of the chunks in which bytes are moved. Down (guest to browser) carries the pixels; up carries keys and pointer
// movements, and stays far below PVE's bound of 128 KiB for a client's frame.
const (
	downChunk = 256 << 10
	upChunk   = 16 << 10
)

// chunks lends buffers of one size. A pump holds one only while data is moving, so an idle console costs no buffer; one whose
// browser lags behind holds one until the browser took the data or StallTimeout ends it. Smaller down chunks cost throughput:
// 32 KiB about half of it.
type chunks struct{ pool sync.Pool }

func newChunks(size int) *chunks {
	return &chunks{pool: sync.Pool{New: func() any {
		buffer := make([]byte, size)
		return &buffer
	}}}
}

func (c *chunks) borrow() *[]byte    { return c.pool.Get().(*[]byte) }
func (c *chunks) giveBack(b *[]byte) { c.pool.Put(b) }
