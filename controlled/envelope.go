package controlled

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"

	"github.com/gin-gonic/gin"

	wire "gantry/internal/controlledclient"
)

// refusal is a call's failure as the caller shall see it.
type refusal struct {
	reason  wire.Reason
	field   string // set when reason is ReasonInvalid or a path is at fault
	message string
}

func (r *refusal) Error() string {
	if r.field != "" {
		return r.field + ": " + r.message
	}
	return r.message
}

func invalid(field, format string, values ...any) *refusal {
	return &refusal{wire.ReasonInvalid, field, fmt.Sprintf(format, values...)}
}

func forbidden(field, format string, values ...any) *refusal {
	return &refusal{wire.ReasonForbidden, field, fmt.Sprintf(format, values...)}
}

func notFound(message string) *refusal {
	return &refusal{reason: wire.ReasonNotFound, message: message}
}

func isNotFound(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.reason == wire.ReasonNotFound
}

func refused(reason wire.Reason, format string, values ...any) *refusal {
	return &refusal{reason: reason, message: fmt.Sprintf(format, values...)}
}

// succeed answers as documented: HTTP 200, code 200, message "success". A nil data becomes {}.
func succeed(c *gin.Context, data any) {
	if data == nil {
		data = struct{}{}
	}
	answer(c, http.StatusOK, wire.CodeSuccess, "success", data)
}

// fail answers with HTTP 200 and the failure in the envelope, as the documented daemon does. An error that is no
// *refusal is a fault of the daemon or its disk: it is logged in full, and the caller learns no paths.
func fail(c *gin.Context, err error) {
	var r *refusal
	if !errors.As(err, &r) {
		_ = c.Error(err)
		r = refused(wire.ReasonFailed, "%s", publicText(err))
	}
	code := wire.CodeError
	if r.reason == wire.ReasonNotFound {
		code = wire.CodeNotFound
	}
	answer(c, http.StatusOK, code, r.Error(), wire.Refusal{Reason: r.reason, Field: r.field})
}

func answer(c *gin.Context, status, code int, message string, data any) {
	c.Set(envelopeCodeKey, code)
	c.AbortWithStatusJSON(status, wire.Envelope[any]{Code: code, Message: message, Data: data})
}

// publicText is what may be told of an unexpected error: the system's reason without the path.
func publicText(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return "the node's file system says: " + path.Err.Error()
	}
	return "internal error, see the daemon's log"
}

// maxBody is enough for any documented body many times over.
const maxBody = 64 << 10

// readBody decodes the JSON body; the returned refusal names the field at fault.
func readBody(c *gin.Context, into any) error {
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return invalid("body", "is larger than %d bytes", maxBody)
		}
		return invalid("body", "could not be read")
	}
	err = json.Unmarshal(body, into)
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) {
		field := wrongType.Field
		if field == "" {
			field = "body"
		}
		return invalid(field, "must be %s, not %s", jsonTypeName(wrongType.Type.Kind().String()), wrongType.Value)
	}
	if err != nil {
		return invalid("body", "must be one JSON object")
	}
	return nil
}

func jsonTypeName(kind string) string {
	switch kind {
	case "struct":
		return "an object"
	case "string":
		return "a string"
	}
	return "an integer"
}
