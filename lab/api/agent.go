package api

var agentRoutes = map[string]handler{}
