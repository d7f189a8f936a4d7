package route

import (
	"fmt"

	"gantry/server/broker"
)

// Problem is what is wrong with a field of a request. It reaches the caller before any handler saw the request.
type Problem struct {
	Code    int
	Field   string
	English string
	Chinese string
}

// Error is the English text.
func (p *Problem) Error() string { return p.In(broker.English) }

// In is the text in a language; it begins with the field.
func (p *Problem) In(language broker.Language) string {
	text := p.English
	if language == broker.Chinese && p.Chinese != "" {
		text = p.Chinese
	}
	return p.Field + ": " + text
}

// wrongType is for a value of a kind that can't be read as what the field holds.
func wrongType(field, english, chinese string) *Problem {
	return &Problem{Code: CodeMalformed, Field: field, English: "must be " + english, Chinese: "必须是" + chinese}
}

// unacceptable is for a value of the right kind that the field does not take.
func unacceptable(field, english, chinese string) *Problem {
	return &Problem{Code: CodeInvalid, Field: field, English: english, Chinese: chinese}
}

func missing(field string) *Problem { return unacceptable(field, "is required", "不能为空") }

func outOfRange(field *Field) *Problem {
	if !field.HasHigh {
		return unacceptable(field.Name, fmt.Sprintf("must be %d at least", field.Low), fmt.Sprintf("不能小于 %d", field.Low))
	}
	return unacceptable(field.Name, fmt.Sprintf("must be between %d and %d", field.Low, field.High),
		fmt.Sprintf("必须在 %d 到 %d 之间", field.Low, field.High))
}

func tooLong(field string, most int64) *Problem {
	return unacceptable(field, fmt.Sprintf("must have %d characters at most", most), fmt.Sprintf("最多 %d 个字符", most))
}

// Unacceptable refuses a value that was understood; it is for field types that read themselves, see Reader.
func Unacceptable(field, english, chinese string) *Problem {
	return unacceptable(field, english, chinese)
}
