package consoleapi

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPlainText bounds text of foreign origin that is shown to people.
const maxPlainText = 200

// PlainText makes text of foreign origin fit to be shown: valid UTF-8, printable, one line, at most 200 bytes.
func PlainText(text string) string {
	if len(text) > 4*maxPlainText {
		text = text[:4*maxPlainText]
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	for len(text) > maxPlainText {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}
