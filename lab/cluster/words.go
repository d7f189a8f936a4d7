package cluster

import (
	"strings"
	"unicode"
)

// shellWords splits the option args as PVE does (PVE::Tools::split_args), with Perl's Text::ParseWords::shellwords: words are separated by
// white space; in double quotes and outside quotes a backslash takes the next character as it is; in single quotes it stays, together with
// the character behind it, even a quote. A quote that is not closed makes the whole line come to nothing.
func shellWords(line string) []string {
	var words []string
	var word strings.Builder
	open := false // a word has begun, if only with empty quotes
	rest := []rune(strings.TrimLeftFunc(line, unicode.IsSpace))
	for i := 0; i < len(rest); i++ {
		switch r := rest[i]; {
		case r == '"' || r == '\'':
			end := closingQuote(rest, i)
			if end < 0 {
				return nil
			}
			quoted := string(rest[i+1 : end])
			if r == '"' {
				quoted = unescaped(quoted)
			}
			word.WriteString(quoted)
			open, i = true, end
		case r == '\\' && i+1 < len(rest):
			i++
			word.WriteRune(rest[i])
			open = true
		case r == '\\':
			return nil
		case unicode.IsSpace(r):
			if open {
				words = append(words, word.String())
			}
			word.Reset()
			open = false
		default:
			word.WriteRune(r)
			open = true
		}
	}
	if open {
		words = append(words, word.String())
	}
	return words
}

// closingQuote finds the end of the quotes that open at; -1 when they have none.
func closingQuote(text []rune, at int) int {
	for i := at + 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case text[at]:
			return i
		}
	}
	return -1
}

// unescaped takes each backslash away and what follows it as it is.
func unescaped(text string) string {
	var plain strings.Builder
	escaped := false
	for _, r := range text {
		if r == '\\' && !escaped {
			escaped = true
			continue
		}
		plain.WriteRune(r)
		escaped = false
	}
	return plain.String()
}
