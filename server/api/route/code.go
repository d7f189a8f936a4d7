package route

import (
	"errors"

	"gantry/server/broker"
)

// Codes of the AMS envelope (peer study §2). Business codes 1001 … are in reasonCodes.
const (
	CodeSuccess         = 20000
	CodeFailed          = 20400
	CodeWrongPassword   = 20402
	CodeNoSuchAccount   = 20403
	CodeDuplicate       = 20405
	CodeInternal        = 20500
	CodeMalformed       = 4000001 // 参数异常: not JSON, a wrong type
	CodeInvalid         = 4000002 // 参数校验异常: missing, too long, out of range
	CodeAccountDisabled = 4000004
	CodeForbidden       = 4030001
	CodeUnknownRoute    = 501001
	CodeUnauthenticated = 501002
)

// Texts that are the same in every language because clients compare them.
const (
	TextSuccess         = "请求成功"
	TextUnknownRoute    = "无效的API"
	TextUnauthenticated = "API鉴权失败"
)

// reasonCodes are the business codes of the peer study, §2; reasons that it has no code for take that of their kind.
var reasonCodes = map[broker.Reason]int{
	broker.ReasonNodeNotFound:          1002,
	broker.ReasonNodeUnavailable:       1003,
	broker.ReasonNoIPv4:                1004,
	broker.ReasonNoIPv6:                1005,
	broker.ReasonImageMissing:          1006,
	broker.ReasonCPUType:               1007,
	broker.ReasonArchitecture:          1009,
	broker.ReasonCPUNotNested:          1010,
	broker.ReasonNoVMID:                1011,
	broker.ReasonStorageNotFound:       1001,
	broker.ReasonStorageFull:           1011,
	broker.ReasonImageNotFound:         1014,
	broker.ReasonImageNotOnNode:        1015,
	broker.ReasonVMNotFound:            1016,
	broker.ReasonVMSuspended:           1018,
	broker.ReasonPlanNotFound:          1020,
	broker.ReasonVMExpired:             1021,
	broker.ReasonPoolNotFound:          1027,
	broker.ReasonPoolInUse:             1028,
	broker.ReasonHostnameInvalid:       1031,
	broker.ReasonVMNotRunning:          1032,
	broker.ReasonNoConsoleNode:         1033,
	broker.ReasonVMBusy:                1042,
	broker.ReasonHostnameTaken:         1043,
	broker.ReasonHypervisorUnreachable: 1003,
	broker.ReasonWrongPassword:         CodeWrongPassword,
	broker.ReasonAccountDisabled:       CodeAccountDisabled,
	broker.ReasonAdminNotFound:         CodeNoSuchAccount,
	broker.ReasonAreaTaken:             CodeFailed, // documented at addArea: 该地区已存在
	broker.ReasonNodeInUse:             1025,
	broker.ReasonNoNodeFits:            1011,
}

var kindCodes = map[broker.Kind]int{
	broker.Invalid:         CodeInvalid,
	broker.Exists:          CodeDuplicate,
	broker.Unauthenticated: CodeUnauthenticated,
	broker.Forbidden:       CodeForbidden,
	broker.Internal:        CodeInternal,
}

// Refuse turns an error into code and text for the caller. internal tells that it is a defect of ours, which is logged and
// never shown.
func (r Route) Refuse(err error, language broker.Language) (code int, text string, internal bool) {
	var problem *Problem
	if errors.As(err, &problem) {
		return problem.Code, problem.In(language), false
	}
	var known *broker.Error
	if !errors.As(err, &known) || known.Kind == broker.Internal {
		return CodeInternal, "", true
	}
	text = broker.DetailIn(err, language)
	if own, documented := r.Refusals[known.Reason]; documented && known.Reason != "" {
		if own.Text != "" {
			text = own.Text
		}
		return own.Code, text, false
	}
	if code, documented := reasonCodes[known.Reason]; documented {
		return code, text, false
	}
	if known.Kind == broker.Exists && known.Field == "hostname" {
		return reasonCodes[broker.ReasonHostnameTaken], text, false
	}
	if code, documented := kindCodes[known.Kind]; documented {
		return code, text, false
	}
	return CodeFailed, text, false
}
