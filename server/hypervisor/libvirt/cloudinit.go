package libvirt

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/GehirnInc/crypt"
	"github.com/GehirnInc/crypt/sha512_crypt"

	golibvirt "github.com/digitalocean/go-libvirt"

	"gantry/internal/nocloud"
	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// seed is what a guest's cloud-init drive is made from. It is written on the drive itself, as a comment, so that a change of one part
// can keep the others; the password is there only as a hash.
type seed struct {
	Name       string             `json:"name"`
	User       string             `json:"user,omitempty"`
	Hash       string             `json:"hash,omitempty"`
	SSHKeys    []string           `json:"keys,omitempty"`
	Addresses  []broker.VMAddress `json:"addresses,omitempty"`
	Nameserver string             `json:"nameserver,omitempty"`
	MACs       []string           `json:"macs,omitempty"`
}

const (
	seedMark    = "#cloud-config\n# gantry "
	largestSeed = 4 << 20
)

func newSeed(name string, data *hypervisor.CloudInit, macs []string) (seed, error) {
	out := seed{
		Name: name, User: data.User, SSHKeys: data.SSHKeys, Addresses: data.Addresses, Nameserver: data.Nameserver, MACs: macs,
	}
	if data.Password != "" {
		hash, err := hashPassword(data.Password)
		if err != nil {
			return seed{}, err
		}
		out.Hash = hash
	}
	return out, nil
}

const saltLetters = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// hashPassword makes the crypt(5) hash that every distribution since 2008 knows. The salt is made here: the library's comes from a
// source that is not meant for secrets.
func hashPassword(password string) (string, error) {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails, see crypto/rand
	for i := range salt {
		salt[i] = saltLetters[salt[i]&63]
	}
	hash, err := crypt.New(crypt.SHA512).Generate([]byte(password), append([]byte(sha512_crypt.MagicPrefix), salt...))
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return hash, nil
}

// files are the texts on the drive. Every text from outside stands in double quotes, JSON's being a part of YAML's.
func (s seed) files() (nocloud.Files, error) {
	order, err := json.Marshal(s)
	if err != nil {
		return nocloud.Files{}, fmt.Errorf("write cloud-init data: %w", err)
	}
	host, _, _ := strings.Cut(s.Name, ".")
	var text strings.Builder
	fmt.Fprintf(&text, "%s%s\nhostname: %s\nmanage_etc_hosts: true\nfqdn: %s\n", seedMark, order, quote(host), quote(s.Name))
	if s.User != "" {
		fmt.Fprintf(&text, "user: %s\n", quote(s.User))
		if s.User == "root" {
			text.WriteString("disable_root: false\n")
		}
	}
	if s.Hash != "" {
		fmt.Fprintf(&text, "password: %s\nssh_pwauth: true\n", quote(s.Hash))
	}
	if len(s.SSHKeys) > 0 {
		text.WriteString("ssh_authorized_keys:\n")
		for _, key := range s.SSHKeys {
			fmt.Fprintf(&text, "  - %s\n", quote(strings.TrimSpace(key)))
		}
	}
	text.WriteString("chpasswd:\n  expire: False\n")
	if s.User != "root" {
		text.WriteString("users:\n  - default\n")
	}
	network := s.network()
	// cloud-init applies user and password once for an instance id: it changes with what they are made of.
	sum := sha256.Sum256([]byte(text.String() + network))
	return nocloud.Files{
		MetaData: "instance-id: " + hex.EncodeToString(sum[:20]) + "\n", UserData: text.String(), NetworkConfig: network,
	}, nil
}

func quote(text string) string {
	out, err := json.Marshal(text)
	if err != nil {
		return `""`
	}
	return string(out)
}

// network is the network configuration, version 1: every cloud-init knows it.
func (s seed) network() string {
	var text strings.Builder
	text.WriteString("version: 1\nconfig:\n")
	for i, mac := range s.MACs {
		fmt.Fprintf(&text, "    - type: physical\n      name: eth%d\n      mac_address: '%s'\n      subnets:\n", i, strings.ToLower(mac))
		if i > 0 || len(s.Addresses) == 0 {
			text.WriteString("      - type: dhcp4\n")
			continue
		}
		seen := map[bool]bool{}
		for _, address := range s.Addresses {
			if seen[address.IP.Is4()] {
				continue // the first of each version is configured
			}
			seen[address.IP.Is4()] = true
			kind := "static6"
			if address.IP.Is4() {
				kind = "static"
			}
			fmt.Fprintf(&text, "      - type: %s\n        address: '%s'\n", kind, netip.PrefixFrom(address.IP, address.Prefix))
			if address.Gateway.IsValid() {
				fmt.Fprintf(&text, "        gateway: '%s'\n", address.Gateway)
			}
		}
	}
	if servers := strings.Fields(s.Nameserver); len(servers) > 0 {
		text.WriteString("    - type: nameserver\n      address:\n")
		for _, server := range servers {
			fmt.Fprintf(&text, "      - '%s'\n", server)
		}
	}
	return text.String()
}

// image is the drive.
func (s seed) image() ([]byte, error) {
	files, err := s.files()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "gantry-seed-")
	if err != nil {
		return nil, fmt.Errorf("write cloud-init drive: %w", err)
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "seed.iso")
	if err := nocloud.WriteISO(path, files); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// readSeed finds on a drive what it was made from; false when it is none of ours.
func readSeed(drive []byte) (seed, bool) {
	at := bytes.Index(drive, []byte(seedMark))
	if at < 0 {
		return seed{}, false
	}
	line, _, whole := bytes.Cut(drive[at+len(seedMark):], []byte("\n"))
	var out seed
	if !whole || json.Unmarshal(line, &out) != nil {
		return seed{}, false
	}
	return out, true
}

// makeSeed makes a cloud-init drive as a new volume of the guest.
func (d *driver) makeSeed(ctx context.Context, g *guest, pool string, data seed) (recordVolume, error) {
	content, err := data.image()
	if err != nil {
		return recordVolume{}, err
	}
	where, err := d.storageNamed(ctx, pool)
	if err != nil {
		return recordVolume{}, err
	}
	name := g.nextVolume(pool, "iso")
	g.record.Volumes = append(g.record.Volumes, recordVolume{Name: name, Seed: true})
	if err := d.put(ctx, g); err != nil {
		return recordVolume{}, err
	}
	text, err := volumeXML(strings.TrimPrefix(name, pool+":"), raw, uint64(len(content)), imageFile{})
	if err != nil {
		return recordVolume{}, err
	}
	volume, err := ask(ctx, d.client, func(l *rpc) (golibvirt.StorageVol, error) { return l.StorageVolCreateXML(where.pool, text, 0) })
	if err != nil {
		return recordVolume{}, err
	}
	if err := d.upload(ctx, volume, bytes.NewReader(content), uint64(len(content))); err != nil {
		return recordVolume{}, err
	}
	file, err := read(ctx, d.client, func(l *rpc) (string, error) { return l.StorageVolGetPath(volume) })
	if err != nil {
		return recordVolume{}, err
	}
	made := g.record.volume(name)
	made.Path = file
	return *made, nil
}

// firstBytes keeps what fits and lets the rest go: go-libvirt blocks its connection for good when a writer fails.
type firstBytes struct {
	bytes.Buffer
	left int
}

func (f *firstBytes) Write(data []byte) (int, error) {
	keep := min(len(data), f.left)
	f.left -= keep
	f.Buffer.Write(data[:keep])
	return len(data), nil
}

// currentSeed reads the guest's cloud-init drive; false when it has none of ours.
func (d *driver) currentSeed(ctx context.Context, g *guest) (seed, string, bool, error) {
	file := g.seedPath()
	if file == "" {
		return seed{}, "", false, nil
	}
	name, err := d.volumeOf(ctx, g, file)
	if err != nil {
		return seed{}, "", false, err
	}
	volume, err := d.findVolume(ctx, name)
	if broker.Is(err, broker.NotFound) {
		return seed{}, "", false, nil
	}
	if err != nil {
		return seed{}, "", false, err
	}
	content := &firstBytes{left: largestSeed}
	err = d.client.transfer(ctx, func(l *rpc) error { return l.StorageVolDownload(volume, content, 0, largestSeed, 0) })
	if err != nil {
		return seed{}, "", false, fmt.Errorf("read cloud-init drive: %w", err)
	}
	data, ours := readSeed(content.Bytes())
	return data, name, ours, nil
}

// seedPath is where the guest's CD drive has its medium.
func (g *guest) seedPath() string {
	if g.config.Devices == nil {
		return ""
	}
	for i := range g.config.Devices.Disks {
		if disk := &g.config.Devices.Disks[i]; disk.Device == "cdrom" {
			if file := diskPath(disk.Source); file != "" {
				return file
			}
		}
	}
	return ""
}
