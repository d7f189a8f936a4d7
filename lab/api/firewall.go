package api

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"gantry/lab/apierror"
	"gantry/lab/cluster"
	"gantry/lab/schema"
)

var firewallRoutes = buildFirewallRoutes()

func buildFirewallRoutes() map[string]handler {
	routes := map[string]handler{}
	for _, base := range []string{" /cluster/firewall", " /nodes/{node}/firewall", " /nodes/{node}/qemu/{vmid}/firewall"} {
		routes["GET"+base] = func(*Request) (any, error) {
			return named("name", "rules", "aliases", "ipset", "options", "log", "refs"), nil
		}
		routes["GET"+base+"/options"] = firewallOptions
		routes["PUT"+base+"/options"] = setFirewallOptions
		routes["GET"+base+"/rules"] = firewallRules
		routes["POST"+base+"/rules"] = addFirewallRule
		routes["GET"+base+"/rules/{pos}"] = firewallRule
		routes["PUT"+base+"/rules/{pos}"] = editFirewallRule
		routes["DELETE"+base+"/rules/{pos}"] = removeFirewallRule
		routes["GET"+base+"/ipset"] = listIPSets
		routes["POST"+base+"/ipset"] = addIPSet
		routes["DELETE"+base+"/ipset/{name}"] = removeIPSet
		routes["GET"+base+"/ipset/{name}"] = listIPSet
		routes["POST"+base+"/ipset/{name}"] = addIPEntry
		routes["GET"+base+"/ipset/{name}/{cidr}"] = getIPEntry
		routes["DELETE"+base+"/ipset/{name}/{cidr}"] = removeIPEntry
	}
	return routes
}

// scope names the firewall that the request is about.
func (r *Request) scope() string {
	switch {
	case r.VMID != 0:
		return strconv.Itoa(r.VMID)
	case r.Node != "":
		return "node:" + r.Node
	}
	return "cluster"
}

func firewallOptions(r *Request) (any, error) {
	row := map[string]any{}
	r.Cluster.ViewFirewall(r.scope(), func(firewall *cluster.Firewall) {
		for name, value := range firewall.Options {
			row[name] = r.number(name, value)
		}
		row["digest"] = cluster.DigestOf(firewall.Options)
	})
	return row, nil
}

// number gives a value the type that the method's parameter of that name has.
func (r *Request) number(name, value string) any {
	put, _ := r.Server.Schema.Find("PUT", []string{"nodes", "x", "qemu", "100", "firewall", "options"})
	if put == nil {
		return value
	}
	if property := put.Property(name); property != nil && (property.Type == "boolean" || property.Type == "integer") {
		if number, err := strconv.Atoi(value); err == nil {
			return number
		}
	}
	return value
}

func setFirewallOptions(r *Request) (any, error) {
	return nil, r.Cluster.EditFirewall(r.scope(), func(firewall *cluster.Firewall) error {
		if digest := r.Params.Str("digest"); digest != "" && digest != cluster.DigestOf(firewall.Options) {
			return apierror.Die("detected modified configuration - file changed by other user? Try again.")
		}
		if firewall.Options == nil {
			firewall.Options = map[string]string{}
		}
		maps.Copy(firewall.Options, r.Params.Texts("node", "vmid", "digest", "delete"))
		for _, name := range schema.SplitList(r.Params.Str("delete")) {
			delete(firewall.Options, name)
		}
		return nil
	})
}

func ruleRow(rule map[string]string, position int, digest string) map[string]any {
	row := map[string]any{"pos": position, "digest": digest}
	for name, value := range rule {
		row[name] = value
		if name == "enable" {
			row[name] = flag(value == "1")
		}
	}
	return row
}

func firewallRules(r *Request) (any, error) {
	rows := []map[string]any{}
	r.Cluster.ViewFirewall(r.scope(), func(firewall *cluster.Firewall) {
		for i, rule := range firewall.Rules {
			rows = append(rows, ruleRow(rule, i, cluster.DigestOf(firewall.Rules)))
		}
	})
	return rows, nil
}

func addFirewallRule(r *Request) (any, error) {
	return nil, r.Cluster.EditFirewall(r.scope(), func(firewall *cluster.Firewall) error {
		at := min(max(r.Params.Int("pos", 0), 0), len(firewall.Rules))
		firewall.Rules = slices.Insert(firewall.Rules, at, r.Params.Texts("node", "vmid", "digest", "pos"))
		return nil
	})
}

// withRule runs work on the rule at the request's position.
func (r *Request) withRule(work func(firewall *cluster.Firewall, at int)) error {
	return r.Cluster.EditFirewall(r.scope(), func(firewall *cluster.Firewall) error {
		at := r.Params.Int("pos", -1)
		if at < 0 || at >= len(firewall.Rules) {
			return apierror.Die("no rule at position %d", at)
		}
		work(firewall, at)
		return nil
	})
}

func firewallRule(r *Request) (any, error) {
	var row map[string]any
	err := r.withRule(func(firewall *cluster.Firewall, at int) {
		row = ruleRow(firewall.Rules[at], at, cluster.DigestOf(firewall.Rules))
	})
	return row, err
}

func editFirewallRule(r *Request) (any, error) {
	return nil, r.withRule(func(firewall *cluster.Firewall, at int) {
		if r.Params.Has("moveto") {
			rule := firewall.Rules[at]
			firewall.Rules = slices.Delete(firewall.Rules, at, at+1)
			firewall.Rules = slices.Insert(firewall.Rules, min(max(r.Params.Int("moveto", 0), 0), len(firewall.Rules)), rule)
			return
		}
		maps.Copy(firewall.Rules[at], r.Params.Texts("node", "vmid", "digest", "pos", "delete", "moveto"))
		for _, name := range schema.SplitList(r.Params.Str("delete")) {
			delete(firewall.Rules[at], name)
		}
	})
}

func removeFirewallRule(r *Request) (any, error) {
	return nil, r.withRule(func(firewall *cluster.Firewall, at int) { firewall.Rules = slices.Delete(firewall.Rules, at, at+1) })
}

func listIPSets(r *Request) (any, error) {
	rows := []map[string]any{}
	r.Cluster.ViewFirewall(r.scope(), func(firewall *cluster.Firewall) {
		for _, name := range slices.Sorted(maps.Keys(firewall.IPSets)) {
			row := map[string]any{"name": name, "digest": cluster.DigestOf(firewall.IPSets)}
			if comment := firewall.IPSets[name].Comment; comment != "" {
				row["comment"] = comment
			}
			rows = append(rows, row)
		}
	})
	return rows, nil
}

func addIPSet(r *Request) (any, error) {
	name := r.Params.Str("name")
	return nil, r.Cluster.EditFirewall(r.scope(), func(firewall *cluster.Firewall) error {
		if firewall.IPSets == nil {
			firewall.IPSets = map[string]*cluster.IPSet{}
		}
		if old := r.Params.Str("rename"); old != "" {
			set := firewall.IPSets[old]
			if set == nil {
				return apierror.Param("name", "IPSet '%s' does not exist", old)
			}
			delete(firewall.IPSets, old)
			set.Comment = r.Params.Str("comment")
			firewall.IPSets[name] = set
			return nil
		}
		if firewall.IPSets[name] != nil {
			return apierror.Param("name", "IPSet '%s' already exists", name)
		}
		firewall.IPSets[name] = &cluster.IPSet{Comment: r.Params.Str("comment")}
		return nil
	})
}

// withIPSet runs work on the request's set.
func (r *Request) withIPSet(work func(firewall *cluster.Firewall, set *cluster.IPSet) error) error {
	return r.Cluster.EditFirewall(r.scope(), func(firewall *cluster.Firewall) error {
		set := firewall.IPSets[r.Params.Str("name")]
		if set == nil {
			return apierror.Die("no such IPSet '%s'", r.Params.Str("name"))
		}
		return work(firewall, set)
	})
}

func removeIPSet(r *Request) (any, error) {
	return nil, r.withIPSet(func(firewall *cluster.Firewall, set *cluster.IPSet) error {
		if len(set.Entries) > 0 && !r.Params.Flag("force") {
			return apierror.Die("IPSet '%s' is not empty", r.Params.Str("name"))
		}
		delete(firewall.IPSets, r.Params.Str("name"))
		return nil
	})
}

func entryRow(entry cluster.IPEntry) map[string]any {
	row := map[string]any{"cidr": entry.CIDR}
	if entry.Comment != "" {
		row["comment"] = entry.Comment
	}
	if entry.NoMatch {
		row["nomatch"] = 1
	}
	return row
}

func listIPSet(r *Request) (any, error) {
	rows := []map[string]any{}
	err := r.withIPSet(func(_ *cluster.Firewall, set *cluster.IPSet) error {
		for _, entry := range set.Entries {
			row := entryRow(entry)
			row["digest"] = cluster.DigestOf(set)
			rows = append(rows, row)
		}
		return nil
	})
	return rows, err
}

func findEntry(set *cluster.IPSet, cidr string) int {
	return slices.IndexFunc(set.Entries, func(entry cluster.IPEntry) bool {
		return strings.TrimSuffix(strings.TrimSuffix(entry.CIDR, "/32"), "/128") == strings.TrimSuffix(strings.TrimSuffix(cidr, "/32"), "/128")
	})
}

func addIPEntry(r *Request) (any, error) {
	return nil, r.withIPSet(func(_ *cluster.Firewall, set *cluster.IPSet) error {
		cidr := r.Params.Str("cidr")
		if findEntry(set, cidr) >= 0 {
			return apierror.Param("cidr", "address '%s' already exists", cidr)
		}
		set.Entries = append(set.Entries, cluster.IPEntry{CIDR: cidr, Comment: r.Params.Str("comment"), NoMatch: r.Params.Flag("nomatch")})
		return nil
	})
}

func getIPEntry(r *Request) (any, error) {
	var row map[string]any
	err := r.withIPSet(func(_ *cluster.Firewall, set *cluster.IPSet) error {
		at := findEntry(set, r.Params.Str("cidr"))
		if at < 0 {
			return apierror.Param("cidr", "no such IP/Network")
		}
		row = entryRow(set.Entries[at])
		return nil
	})
	return row, err
}

func removeIPEntry(r *Request) (any, error) {
	return nil, r.withIPSet(func(_ *cluster.Firewall, set *cluster.IPSet) error {
		at := findEntry(set, r.Params.Str("cidr"))
		if at < 0 {
			return apierror.Param("cidr", "no such IP/Network")
		}
		set.Entries = slices.Delete(set.Entries, at, at+1)
		return nil
	})
}
