package pve

import (
	"math"
	"strconv"
	"strings"
)

// property is one part of a PVE property string such as "virtio=BC:24:11:00:00:01,bridge=vmbr0". The default key has no name.
type property struct{ key, value string }

// properties is a PVE property string in its order.
type properties []property

// parseProperties reads a property string. PVE has no quoting: a comma always splits.
func parseProperties(text string) properties {
	if text == "" {
		return nil
	}
	var out properties
	for part := range strings.SplitSeq(text, ",") {
		key, value, named := strings.Cut(part, "=")
		if !named || key == "" {
			key, value = "", part
		}
		out = append(out, property{key, value})
	}
	return out
}

func (p properties) String() string {
	parts := make([]string, len(p))
	for i, each := range p {
		parts[i] = each.value
		if each.key != "" {
			parts[i] = each.key + "=" + each.value
		}
	}
	return strings.Join(parts, ",")
}

// get gives the value of a key, "" when it is not there. The default key is "".
func (p properties) get(key string) string {
	for _, each := range p {
		if each.key == key {
			return each.value
		}
	}
	return ""
}

// with sets a key in place, or adds it at the end; "" takes it away.
func (p properties) with(key, value string) properties {
	out := make(properties, 0, len(p)+1)
	found := false
	for _, each := range p {
		if each.key != key {
			out = append(out, each)
			continue
		}
		if !found && value != "" {
			out = append(out, property{key, value})
		}
		found = true
	}
	if !found && value != "" {
		out = append(out, property{key, value})
	}
	return out
}

var units = map[byte]int64{'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30, 'T': 1 << 40}

// parseSize reads a disk size as PVE writes it (PVE::JSONSchema::parse_size): bytes, or a number with K, M, G or T. 0 when it is none.
func parseSize(text string) int64 {
	if text == "" {
		return 0
	}
	unit, hasUnit := units[text[len(text)-1]]
	if !hasUnit {
		unit = 1
	} else {
		text = text[:len(text)-1]
	}
	whole, err := strconv.ParseInt(text, 10, 64)
	if err == nil && whole >= 0 && whole <= math.MaxInt64/unit {
		return whole * unit
	}
	fraction, err := strconv.ParseFloat(text, 64)
	if err != nil || fraction < 0 || math.IsNaN(fraction) || fraction*float64(unit) >= math.MaxInt64 {
		return 0
	}
	return int64(math.Ceil(fraction * float64(unit)))
}

// resizeSize writes a size for PUT resize, absolute and in the largest unit that is exact. PVE takes no bytes that are no multiple
// of 1 KiB, so it is rounded up.
func resizeSize(bytes int64) string {
	kib := (bytes + 1023) / 1024
	switch {
	case kib%(1<<20) == 0:
		return strconv.FormatInt(kib>>20, 10) + "G"
	case kib%(1<<10) == 0:
		return strconv.FormatInt(kib>>10, 10) + "M"
	}
	return strconv.FormatInt(kib, 10) + "K"
}

// newVolumeSize writes a size for "STORAGE:SIZE", which is in GiB and may have a fraction.
func newVolumeSize(bytes int64) string {
	return strconv.FormatFloat(float64(bytes)/(1<<30), 'f', -1, 64)
}

// decimal writes a number as PVE's "number" type wants it.
func decimal(value float64) string { return strconv.FormatFloat(value, 'f', -1, 64) }
