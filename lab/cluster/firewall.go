package cluster

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"maps"
)

// Firewall is the firewall of the cluster, a node or a guest: enough for address filters on a guest's devices.
type Firewall struct {
	Options map[string]string   `json:"options,omitempty"`
	Rules   []map[string]string `json:"rules,omitempty"`
	IPSets  map[string]*IPSet   `json:"ipsets,omitempty"`
	Aliases map[string]Alias    `json:"aliases,omitempty"`
}

// IPSet is a named set of addresses.
type IPSet struct {
	Comment string    `json:"comment,omitempty"`
	Entries []IPEntry `json:"entries,omitempty"`
}

// IPEntry is one address or network of a set.
type IPEntry struct {
	CIDR    string `json:"cidr"`
	Comment string `json:"comment,omitempty"`
	NoMatch bool   `json:"nomatch,omitempty"`
}

// Alias is a name for an address.
type Alias struct {
	CIDR    string `json:"cidr"`
	Comment string `json:"comment,omitempty"`
}

// ViewFirewall reads the firewall of a scope: "cluster", "node:NAME" or a VMID.
func (c *Cluster) ViewFirewall(scope string, read func(*Firewall)) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	firewall := c.saved.Firewall[scope]
	if firewall == nil {
		firewall = &Firewall{}
	}
	read(firewall)
}

// EditFirewall changes it and saves.
func (c *Cluster) EditFirewall(scope string, edit func(*Firewall) error) error {
	c.mu.Lock()
	firewall := c.saved.Firewall[scope]
	if firewall == nil {
		firewall = &Firewall{Options: map[string]string{}, IPSets: map[string]*IPSet{}, Aliases: map[string]Alias{}}
	}
	err := edit(firewall)
	if err == nil {
		c.saved.Firewall[scope] = firewall
	}
	c.mu.Unlock()
	if err == nil {
		c.saveState()
	}
	return err
}

// DigestOf is a SHA-1 over a value's JSON; that of nothing is the one of an empty file.
func DigestOf(value any) string {
	text, err := json.Marshal(value)
	if err != nil || string(text) == "null" || string(text) == "{}" || string(text) == "[]" {
		text = nil
	}
	sum := sha1.Sum(text)
	return hex.EncodeToString(sum[:])
}

// HA returns the HA resources; EditHA changes them.
func (c *Cluster) HA() map[string]map[string]string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	resources := map[string]map[string]string{}
	for sid, options := range c.saved.HA {
		resources[sid] = maps.Clone(options)
	}
	return resources
}

// EditHA changes the HA resources and saves.
func (c *Cluster) EditHA(edit func(map[string]map[string]string) error) error {
	c.mu.Lock()
	err := edit(c.saved.HA)
	c.mu.Unlock()
	if err == nil {
		c.saveState()
	}
	return err
}

// DatacenterOptions returns datacenter.cfg.
func (c *Cluster) DatacenterOptions() map[string]string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return maps.Clone(c.saved.Options)
}

// SetDatacenterOptions changes datacenter.cfg.
func (c *Cluster) SetDatacenterOptions(set map[string]string, remove []string) {
	c.mu.Lock()
	maps.Copy(c.saved.Options, set)
	for _, name := range remove {
		delete(c.saved.Options, name)
	}
	c.mu.Unlock()
	c.saveState()
}
