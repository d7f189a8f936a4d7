package api

var firewallRoutes = map[string]handler{}
