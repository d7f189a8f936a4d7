package api

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"gantry/internal/consoleapi"
	"gantry/server/api/route"
)

// OpenAPIPath serves the OpenAPI document.
const OpenAPIPath = "/api/openapi.json"

func (a *API) router(config Config) (*gin.Engine, error) {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.RedirectTrailingSlash, engine.RedirectFixedPath, engine.HandleMethodNotAllowed = false, false, false
	if err := engine.SetTrustedProxies(config.TrustedProxies); err != nil {
		return nil, fmt.Errorf("trusted proxies: %w", err)
	}
	engine.NoRoute(a.unknown)
	for i := range a.routes {
		each := &a.routes[i]
		path, parameters := ginPath(each.Path, config.AdminPath)
		handler := a.handle(each, parameters)
		for _, method := range each.Methods {
			engine.Handle(method, path, handler)
		}
	}
	document, err := OpenAPI(a.routes, config.Version)
	if err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	engine.GET(OpenAPIPath, a.protected("openapi", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write(document) // the caller has gone
	}))
	proxies := consoleapi.Handler(config.Console, config.Accounts.AuthenticateProxy, config.Log)
	engine.POST(consoleapi.RedeemPath, a.protected("consoleRedeem", proxies.ServeHTTP))
	engine.POST(consoleapi.CheckPath, a.protected("consoleCheck", proxies.ServeHTTP))
	engine.GET(consoleapi.StreamPath, a.protected("consoleStream", proxies.ServeHTTP))
	engine.GET("/healthz", a.protected("healthz", a.alive))
	engine.GET("/readyz", a.protected("readyz", a.isReady))
	if !config.HideMetrics {
		engine.GET("/metrics", a.protected("metrics", a.metrics.handler().ServeHTTP))
	}
	return engine, nil
}

// ginPath writes a path as gin wants it. gin allows one name for a parameter's place in all routes, so places are numbered;
// parameters maps them back.
func ginPath(path, adminPath string) (result string, parameters map[string]string) {
	parameters = map[string]string{}
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		name, found := strings.CutPrefix(segment, "{")
		switch {
		case !found:
		case segment == "{"+route.AdminPathParameter+"}":
			segments[i] = adminPath
		default:
			place := fmt.Sprintf("place%d", i)
			parameters[place] = strings.TrimSuffix(name, "}")
			segments[i] = ":" + place
		}
	}
	return strings.Join(segments, "/"), parameters
}

// secure sets the headers that every answer has. The API serves no pages, so a browser may do nothing with an answer.
func secure(header http.Header) {
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	header.Set("Cache-Control", "no-store")
}

// protected serves what is not in the table with the same headers, bound and recovery.
func (a *API) protected(name string, handler http.HandlerFunc) gin.HandlerFunc {
	plain := &route.Route{Name: name, Auth: route.Public}
	return func(c *gin.Context) {
		exchange := a.begin(c, plain)
		defer exchange.recovered()
		ctx, cancel := exchange.bounded()
		defer cancel()
		handler(c.Writer, c.Request.WithContext(ctx))
		a.metrics.observe(name, c.Writer.Status(), 0, exchange.duration())
	}
}

// unknown answers whatever is not in the table: with the panel where that serves it, else as an unknown route, wrong admin paths
// among it: nothing can be told apart.
func (a *API) unknown(c *gin.Context) {
	if a.panel != nil && a.panel.Serves(c.Request) {
		a.protected("panel", a.panel.ServeHTTP)(c)
		return
	}
	exchange := a.begin(c, &route.Route{Name: "unknown", Auth: route.Public})
	exchange.refuseRoute()
}
