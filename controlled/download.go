package controlled

import (
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	wire "gantry/internal/controlledclient"
)

func (d *downloads) routes(router gin.IRoutes) {
	router.GET("/wget", d.wget)
}

// wget starts a download, joins it or tells how far it is. Documented: url, path. Additions: checksum, file (the name to
// store under, default is the URL's last segment), restart=true (try a failed download again).
func (d *downloads) wget(c *gin.Context) {
	order, err := d.readOrder(c)
	if err != nil {
		fail(c, err)
		return
	}
	download, started, err := d.order(order)
	switch {
	case err != nil:
		fail(c, err)
	case started:
		succeed(c, nil)
	case download.State == wire.DownloadFailed:
		answer(c, 200, wire.CodeError, download.Error, download)
	default:
		succeed(c, download)
	}
}

// downloadOrder is one checked call of /wget.
type downloadOrder struct {
	path     string // folder as the caller named it
	file     string
	url      string
	checksum string
	restart  bool
}

const maxURLLength = 4096

func (d *downloads) readOrder(c *gin.Context) (downloadOrder, error) {
	order := downloadOrder{path: c.Query("path"), url: c.Query("url"), file: c.Query("file")}
	if order.url == "" {
		return order, invalid("url", "is missing")
	}
	if len(order.url) > maxURLLength || !printable(order.url) {
		return order, invalid("url", "is no usable URL")
	}
	address, err := url.Parse(order.url)
	if err != nil {
		return order, invalid("url", "is no usable URL")
	}
	if err := checkURL(address, d.config.AllowPrivateDownloads); err != nil {
		if _, isAddress := err.(*addressError); isAddress {
			return order, forbidden("url", "%v", err)
		}
		return order, invalid("url", "%v", err)
	}
	if order.file == "" {
		order.file = path.Base("/" + address.Path)
		if order.file == "/" {
			return order, invalid("url", "has no file name in its path; name one in file")
		}
	}
	if err := checkName("file", order.file); err != nil {
		return order, err
	}
	if strings.HasSuffix(order.file, partSuffix) {
		return order, invalid("file", "must not end in %s, which marks unfinished downloads", partSuffix)
	}
	if order.checksum, err = parseChecksum(c.Query("checksum")); err != nil {
		return order, err
	}
	if text := c.Query("restart"); text != "" {
		if order.restart, err = strconv.ParseBool(text); err != nil {
			return order, invalid("restart", "must be true or false")
		}
	}
	return order, nil
}

// progressText is the documented percentage: two decimals at most, one at least. It says 100.0% only of a whole file.
func progressText(bytes, total int64, state wire.DownloadState) string {
	switch {
	case state == wire.DownloadDone:
		return "100.0%"
	case total <= 0:
		return "0.0%"
	}
	hundredths := min(int64(float64(bytes)/float64(total)*10_000), 9_999)
	text := strconv.FormatFloat(float64(hundredths)/100, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text + "%"
}
