package api

import (
	"strings"

	"golang.org/x/text/language"

	"gantry/server/broker"
)

// maxLanguageHeader bounds what is parsed.
const maxLanguageHeader = 256

// languages chooses between English and Chinese.
type languages struct {
	otherwise broker.Language
	matcher   language.Matcher
}

func newLanguages(otherwise broker.Language) languages {
	if otherwise != broker.Chinese {
		otherwise = broker.English
	}
	return languages{otherwise: otherwise, matcher: language.NewMatcher([]language.Tag{language.English, language.Chinese})}
}

// of reads an Accept-Language header (RFC 9110 §12.5.4).
func (l languages) of(header string) broker.Language {
	if header == "" || header == "*" || len(header) > maxLanguageHeader {
		return l.otherwise
	}
	if !strings.Contains(strings.ToLower(header), "zh") && l.otherwise == broker.English {
		return broker.English
	}
	tags, _, err := language.ParseAcceptLanguage(header)
	if err != nil || len(tags) == 0 {
		return l.otherwise
	}
	_, index, confidence := l.matcher.Match(tags...)
	switch {
	case confidence == language.No:
		return l.otherwise
	case index == 1:
		return broker.Chinese
	}
	return broker.English
}
