package controlled

import (
	"github.com/gin-gonic/gin"

	wire "gantry/internal/controlledclient"
)

func statusRoutes(router gin.IRoutes, version string) {
	router.GET("/status", func(c *gin.Context) { succeed(c, wire.Status{Status: "running"}) })
	router.GET("/version", func(c *gin.Context) { succeed(c, wire.Version{Version: version}) })
}
