package pve

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

const defaultPort = "8006"

var (
	hostName    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)
	realmName   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{0,31}$`)
	userName    = regexp.MustCompile(`^[^\s:/@!=]{1,64}$`)
	tokenName   = regexp.MustCompile(`^[^\s:/@!=]{1,64}@[A-Za-z][A-Za-z0-9._-]{0,31}![A-Za-z][A-Za-z0-9._-]{0,63}$`)
	tokenSecret = regexp.MustCompile(`^[0-9A-Za-z-]{8,128}$`)
)

func optionSchema() []hypervisor.Option {
	text := func(en, zh string) map[broker.Language]string {
		return map[broker.Language]string{broker.English: en, broker.Chinese: zh}
	}
	return []hypervisor.Option{
		{Name: "host", Type: "text", Required: true, Title: text("Address", "地址"),
			Help: text("Host name or IP address of any node of the cluster", "集群中任一节点的主机名或 IP 地址")},
		{Name: "port", Type: "number", Default: defaultPort, Title: text("Port", "端口")},
		{Name: "tokenId", Type: "text", Title: text("API token ID", "API 令牌 ID"),
			Help: text("user@realm!name. Preferred to a password: it can be limited and does not expire in the middle of a task", "格式为 user@realm!name。建议使用令牌而非密码：可限制权限，且不会在任务执行中过期")},
		{Name: "tokenSecret", Type: "secret", Title: text("API token secret", "API 令牌密钥")},
		{Name: "username", Type: "text", Title: text("User", "用户名"),
			Help: text("Only without a token, e.g. root", "仅在不使用令牌时填写，例如 root")},
		{Name: "password", Type: "secret", Title: text("Password", "密码")},
		{Name: "realm", Type: "text", Default: "pam", Title: text("Realm", "认证域"),
			Help: text("pam, pve or the name of another realm", "pam、pve 或其他认证域名称")},
		{Name: "nodeName", Type: "text", Title: text("Node name", "节点名称"),
			Help: text("Name of the node at this address; empty = ask it", "该地址对应的节点名称；留空则自动获取")},
	}
}

// parseOptions checks what Open gets. The error is Invalid and names the option.
func parseOptions(given map[string]string) (options, error) {
	out := options{
		host: strings.TrimSpace(given["host"]), port: orElse(strings.TrimSpace(given["port"]), defaultPort), node: strings.TrimSpace(given["nodeName"]),
		tokenID: strings.TrimSpace(given["tokenId"]), tokenSecret: strings.TrimSpace(given["tokenSecret"]), password: given["password"],
	}
	out.host = strings.TrimSuffix(strings.TrimPrefix(out.host, "["), "]")
	if _, err := netip.ParseAddr(out.host); err != nil && !hostName.MatchString(out.host) {
		return options{}, broker.InvalidField("host", "must be a host name or an IP address")
	}
	if port, err := strconv.Atoi(out.port); err != nil || port < 1 || port > 65535 {
		return options{}, broker.InvalidField("port", "must be between 1 and 65535")
	}
	if out.node != "" && !nodeName.MatchString(out.node) {
		return options{}, broker.InvalidField("nodeName", "is not the name of a node")
	}
	if out.tokenID != "" || out.tokenSecret != "" {
		return out, checkToken(out)
	}
	return withUser(out, strings.TrimSpace(given["username"]), orElse(strings.TrimSpace(given["realm"]), "pam"))
}

func checkToken(given options) error {
	switch {
	case !tokenName.MatchString(given.tokenID):
		return broker.InvalidField("tokenId", "must be user@realm!name")
	case !tokenSecret.MatchString(given.tokenSecret):
		return broker.InvalidField("tokenSecret", "is missing, or is not a token's secret")
	}
	return nil
}

// withUser takes "root" with a realm, and "root@pam" as it is.
func withUser(out options, user, realm string) (options, error) {
	if name, own, has := strings.Cut(user, "@"); has {
		user, realm = name, own
	}
	switch {
	case user == "":
		return options{}, broker.InvalidField("username", "give a user with password, or an API token")
	case !userName.MatchString(user):
		return options{}, broker.InvalidField("username", "is not a user name")
	case !realmName.MatchString(realm):
		return options{}, broker.InvalidField("realm", "is not a realm")
	case out.password == "" || len(out.password) > 1024:
		return options{}, broker.InvalidField("password", "is missing or too long")
	}
	out.user = user + "@" + realm
	return out, nil
}
