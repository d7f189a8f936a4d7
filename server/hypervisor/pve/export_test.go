package pve

// PrivilegesByPath are the privileges that the driver needs in a version, by the path that they must hold on.
func PrivilegesByPath(version string) map[string][]string {
	out := map[string][]string{}
	for _, each := range privileges {
		if each.existsIn(version) {
			out[each.path] = append(out[each.path], each.name)
		}
	}
	return out
}
