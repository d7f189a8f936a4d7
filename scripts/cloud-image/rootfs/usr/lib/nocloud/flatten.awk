# Flattens the YAML that cloud-init data is written in to lines "path<TAB>value":
#   config.0.subnets.0.address	10.0.0.5
# Block maps and lists, flow maps and lists, quotes, comments and literal blocks; anchors and tags are not known.

function join(parent, key) { return parent == "" ? key : parent "." key }

function scalar(text) {
	gsub(/^[ \t]+|[ \t]+$/, "", text)
	if (text ~ /^".*"$/ || text ~ /^'.*'$/) return substr(text, 2, length(text) - 2)
	return text
}

# emit prints the value at path, descending into flow collections.
function emit(path, text,    body, i, c, depth, quote, part, n, colon) {
	gsub(/^[ \t]+|[ \t]+$/, "", text)
	if (text !~ /^\[.*\]$/ && text !~ /^\{.*\}$/) {
		print path "\t" scalar(text)
		return
	}
	body = substr(text, 2, length(text) - 2) ","
	part = ""; n = 0; depth = 0; quote = ""
	for (i = 1; i <= length(body); i++) {
		c = substr(body, i, 1)
		if (quote != "") { if (c == quote) quote = "" }
		else if (c == "\"" || c == "'") quote = c
		else if (c == "[" || c == "{") depth++
		else if (c == "]" || c == "}") depth--
		if (c == "," && depth == 0 && quote == "") {
			if (part ~ /[^ \t]/) {
				colon = match(part, /:[ \t]/)
				if (text ~ /^\{/ && colon) emit(join(path, scalar(substr(part, 1, colon - 1))), substr(part, colon + 1))
				else emit(join(path, n++), part)
			}
			part = ""
		} else part = part c
	}
}

# content takes what stands at column indent: "key: value", "key:" or a bare value of the list item at path.
function content(indent, text, path,    key, rest) {
	if (match(text, /^("[^"]*"|'[^']*'|[A-Za-z0-9_.\/-]+):([ \t]|$)/)) {
		key = substr(text, 1, RLENGTH)
		rest = substr(text, RLENGTH + 1)
		sub(/:[ \t]*$/, "", key)
		while (top > 0 && indents[top] >= indent) top--
		path = join(top > 0 ? paths[top] : "", scalar(key))
		gsub(/^[ \t]+/, "", rest)
		if (rest == "") push(indent, path, 0)
		else if (rest ~ /^[|>][-+]?$/) { literal = path; literal_indent = indent; literal_line = 0 }
		else emit(path, rest)
	} else if (path != "") emit(path, text)
}

function push(indent, path, item) { top++; indents[top] = indent; paths[top] = path; items[top] = item }

BEGIN { top = 0; literal = "" }
{
	sub(/\r$/, "")
	line = $0
	match(line, /^ */)
	indent = RLENGTH
	text = substr(line, indent + 1)
	if (literal != "") {
		if (text == "" || indent > literal_indent) {
			if (text != "") print join(literal, literal_line++) "\t" text
			next
		}
		literal = ""
	}
	if (text == "" || text ~ /^#/ || text ~ /^---/) next
	if (text !~ /["']/) sub(/[ \t]+#.*$/, "", text)
	path = ""
	while (text == "-" || text ~ /^- /) {
		while (top > 0 && (indents[top] > indent || (indents[top] == indent && items[top]))) top--
		parent = top > 0 ? paths[top] : ""
		path = join(parent, count[parent] + 0)
		count[parent]++
		push(indent, path, 1)
		rest = substr(text, 2)
		match(rest, /^ */)
		indent += 1 + RLENGTH
		text = substr(rest, RLENGTH + 1)
	}
	if (text != "") content(indent, text, path)
}
