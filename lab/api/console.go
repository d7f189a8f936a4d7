package api

var consoleRoutes = map[string]handler{}

type consoles struct{}

func newConsoles() *consoles { return &consoles{} }

func (c *consoles) close() {}
