package ams

import (
	"fmt"
	"net/netip"
	"sort"
	"strconv"
	"strings"

	"gantry/server/api/route"
	"gantry/server/broker"
)

// IPConfig reads the map ipConfig: {"1": ""} asks for any free address, {"1": "ip=192.0.2.7/24,gw=192.0.2.1"} for that one, with
// ip6= and gw6= likewise. Mask and gateway are those of the address's pool, whatever is sent. The list holds one address or ""
// an entry, in the order of the keys.
type IPConfig []string

// ReadField implements route.Reader.
func (c *IPConfig) ReadField(field string, value any) error {
	entries, err := route.ReadMap(field, value)
	if err != nil {
		return err
	}
	if len(entries) > maxEntries {
		return route.Unacceptable(field, "has too many entries", "条目过多")
	}
	type numbered struct {
		number int
		value  any
	}
	sorted := make([]numbered, 0, len(entries))
	for key, entry := range entries {
		number, err := entryNumber(field, strings.TrimSpace(key))
		if err != nil {
			return err
		}
		sorted = append(sorted, numbered{number, entry})
	}
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].number < sorted[j].number })
	for _, entry := range sorted {
		addresses, err := readIPConfig(fmt.Sprintf("%s.%d", field, entry.number), entry.value)
		if err != nil {
			return err
		}
		*c = append(*c, addresses...)
	}
	return nil
}

// Schema implements route.Documented.
func (IPConfig) Schema() map[string]any {
	return map[string]any{
		"type": []string{"object", "null"}, "example": map[string]any{"1": ""},
		"additionalProperties": map[string]any{"type": []string{"string", "null"}},
	}
}

func readIPConfig(name string, value any) ([]string, error) {
	if value == nil {
		return []string{""}, nil
	}
	text, err := route.ReadText(name, value)
	if err != nil {
		return nil, err
	}
	if text = strings.TrimSpace(text); text == "" {
		return []string{""}, nil
	}
	if len(text) > 255 {
		return nil, route.Unacceptable(name, "must have 255 characters at most", "最多 255 个字符")
	}
	var addresses []string
	seen := map[string]bool{}
	for option := range strings.SplitSeq(text, ",") {
		key, argument, found := strings.Cut(strings.TrimSpace(option), "=")
		if key = strings.ToLower(strings.TrimSpace(key)); !found || seen[key] {
			return nil, malformedIPConfig(name)
		}
		seen[key] = true
		address, err := readIPOption(name, key, strings.TrimSpace(argument))
		if err != nil {
			return nil, err
		}
		if address != "" {
			addresses = append(addresses, address)
		}
	}
	if len(addresses) == 0 {
		return nil, malformedIPConfig(name)
	}
	return addresses, nil
}

// readIPOption reads one option and gives the address to reserve, "" for a gateway.
func readIPOption(name, key, argument string) (string, error) {
	version6 := strings.HasSuffix(key, "6")
	switch key {
	case "ip", "ip6":
		text := argument
		if strings.Contains(argument, "/") {
			prefix, err := netip.ParsePrefix(argument)
			if err != nil {
				return "", malformedIPConfig(name)
			}
			text = prefix.Addr().String()
		}
		address, err := broker.ParseAddress(name, text)
		if err != nil || address.Is6() != version6 {
			return "", malformedIPConfig(name)
		}
		return address.String(), nil
	case "gw", "gw6":
		gateway, err := broker.ParseAddress(name, argument)
		if err != nil || gateway.Is6() != version6 {
			return "", malformedIPConfig(name)
		}
		return "", nil
	}
	return "", malformedIPConfig(name)
}

func malformedIPConfig(name string) error {
	return route.Unacceptable(name, `must be empty or like "ip=192.0.2.7/24,gw=192.0.2.1"`, `必须为空或形如 "ip=192.0.2.7/24,gw=192.0.2.1"`)
}

// ipConfigMap is ipConfig in replies.
func ipConfigMap(addresses []broker.VMAddress) map[string]string {
	result := make(map[string]string, len(addresses))
	for i, address := range addresses {
		suffix := ""
		if address.IP.Is6() {
			suffix = "6"
		}
		text := fmt.Sprintf("ip%s=%s/%d", suffix, address.IP, address.Prefix)
		if address.Gateway.IsValid() {
			text += fmt.Sprintf(",gw%s=%s", suffix, address.Gateway)
		}
		result[strconv.Itoa(i+1)] = text
	}
	return result
}
