package libvirt

import (
	"net"
	"net/netip"
	"path"
	"regexp"
	"strconv"
	"strings"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

const (
	overUnix = "unix"
	overSSH  = "ssh"
	overTLS  = "tls"

	defaultSocket  = "/var/run/libvirt/libvirt-sock"
	defaultSSHPort = "22"
	defaultTLSPort = "16514"

	backing  = "backing"
	fullCopy = "copy"

	longestKey = 64 << 10
)

var (
	hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)
	userName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.@$-]{0,63}$`)
	poolName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
)

// options are what the operator typed in.
type options struct {
	transport, host, port, socket       string
	user, password, privateKey, keyPass string
	authority, certificate, key         string
	imagePool, diskMode                 string
	antiSpoofing, localDownloads        bool
}

func (o options) endpoint() string { return net.JoinHostPort(o.host, o.port) }

func optionSchema() []hypervisor.Option {
	text := func(en, zh string) map[broker.Language]string {
		return map[broker.Language]string{broker.English: en, broker.Chinese: zh}
	}
	return []hypervisor.Option{
		{Name: "transport", Type: "choice", Choices: []string{overSSH, overTLS, overUnix}, Default: overSSH, Required: true, Title: text("Connection", "连接方式"),
			Help: text("ssh: to the host's libvirt socket through SSH; tls: libvirtd's TLS port; unix: libvirtd on this machine",
				"ssh：通过 SSH 连接宿主机的 libvirt 套接字；tls：libvirtd 的 TLS 端口；unix：本机的 libvirtd")},
		{Name: "host", Type: "text", Title: text("Address", "地址"), Help: text("Host name or IP address; not for unix", "主机名或 IP 地址；unix 方式无需填写")},
		{Name: "port", Type: "number", Title: text("Port", "端口"), Help: text("Empty = 22 for ssh, 16514 for tls", "留空则 ssh 为 22，tls 为 16514")},
		{Name: "username", Type: "text", Default: "root", Title: text("SSH user", "SSH 用户"),
			Help: text("root, or a member of the group libvirt", "root，或 libvirt 组成员")},
		{Name: "password", Type: "secret", Title: text("SSH password", "SSH 密码")},
		{Name: "privateKey", Type: "secret", Title: text("SSH private key", "SSH 私钥"), Help: text("Text of the key file; preferred to a password", "私钥文件内容；优先于密码")},
		{Name: "passphrase", Type: "secret", Title: text("Passphrase of the key", "私钥口令")},
		{Name: "socket", Type: "text", Default: defaultSocket, Title: text("Socket", "套接字"),
			Help: text("Where libvirtd listens on its host; for unix and ssh", "libvirtd 在宿主机上监听的路径；用于 unix 与 ssh")},
		{Name: "clientCertificate", Type: "secret", Title: text("TLS client certificate", "TLS 客户端证书"), Help: text("PEM text", "PEM 文本")},
		{Name: "clientKey", Type: "secret", Title: text("TLS client key", "TLS 客户端私钥"), Help: text("PEM text", "PEM 文本")},
		{Name: "authority", Type: "secret", Title: text("TLS authority", "TLS 证书颁发机构"),
			Help: text("PEM text of the authority that signed the server's certificate; empty = the certificate seen first is pinned",
				"签发服务器证书的机构证书（PEM）；留空则固定首次看到的证书")},
		{Name: "imagePool", Type: "text", Title: text("Image pool", "镜像存储池"),
			Help: text("Storage pool (dir, fs or netfs) that images are kept in; empty = \"default\", else the first", "存放镜像的存储池（dir、fs 或 netfs）；留空则为 default，否则为第一个")},
		{Name: "diskMode", Type: "choice", Choices: []string{backing, fullCopy}, Default: backing, Title: text("New disks", "新磁盘"),
			Help: text("backing: a disk keeps only what differs from its image, and is made at once; copy: it stands alone. Block storage always copies.",
				"backing：磁盘仅保存与镜像的差异，创建迅速；copy：独立的完整副本。块存储始终完整复制。")},
		{Name: "antiSpoofing", Type: "bool", Default: "true", Title: text("Anti-spoofing", "防地址伪造"),
			Help: text("Guests can only send from their own MAC and IP addresses (nwfilter)", "虚拟机只能使用自己的 MAC 与 IP 地址发送（nwfilter）")},
		{Name: "localDownloads", Type: "bool", Default: "false", Title: text("Images from this machine", "允许从本机下载镜像"),
			Help: text("Allows image addresses on loopback and link-local networks", "允许回环与链路本地网络的镜像地址")},
	}
}

// parseOptions checks what Open gets. The error is Invalid and names the option.
func parseOptions(given map[string]string) (options, error) {
	get := func(name, otherwise string) string {
		if value := strings.TrimSpace(given[name]); value != "" {
			return value
		}
		return otherwise
	}
	out := options{
		transport: get("transport", overSSH), host: get("host", ""), port: get("port", ""), socket: get("socket", defaultSocket),
		user: get("username", "root"), password: given["password"], privateKey: get("privateKey", ""), keyPass: given["passphrase"],
		authority: get("authority", ""), certificate: get("clientCertificate", ""), key: get("clientKey", ""),
		imagePool: get("imagePool", ""), diskMode: get("diskMode", backing),
	}
	var err error
	if out.antiSpoofing, err = strconv.ParseBool(get("antiSpoofing", "true")); err != nil {
		return options{}, broker.InvalidField("antiSpoofing", "must be true or false")
	}
	if out.localDownloads, err = strconv.ParseBool(get("localDownloads", "false")); err != nil {
		return options{}, broker.InvalidField("localDownloads", "must be true or false")
	}
	for name, value := range map[string]string{
		"password": out.password, "privateKey": out.privateKey, "passphrase": out.keyPass, "authority": out.authority,
		"clientCertificate": out.certificate, "clientKey": out.key,
	} {
		if len(value) > longestKey {
			return options{}, broker.InvalidField(name, "must have %d bytes at most", longestKey)
		}
	}
	switch {
	case out.diskMode != backing && out.diskMode != fullCopy:
		return options{}, broker.InvalidField("diskMode", "must be backing or copy")
	case out.imagePool != "" && !poolName.MatchString(out.imagePool):
		return options{}, broker.InvalidField("imagePool", "is not the name of a storage pool")
	case out.transport != overTLS && (!path.IsAbs(out.socket) || len(out.socket) > 107 || strings.ContainsRune(out.socket, 0)):
		return options{}, broker.InvalidField("socket", "must be an absolute path of 107 bytes at most")
	}
	switch out.transport {
	case overUnix:
		return out, nil
	case overSSH:
		return withSSH(out)
	case overTLS:
		return withTLS(out)
	}
	return options{}, broker.InvalidField("transport", "must be unix, ssh or tls")
}

func withHost(out options, defaultPort string) (options, error) {
	out.host = strings.TrimSuffix(strings.TrimPrefix(out.host, "["), "]")
	if _, err := netip.ParseAddr(out.host); err != nil && !hostName.MatchString(out.host) {
		return options{}, broker.InvalidField("host", "must be a host name or an IP address")
	}
	if out.port == "" {
		out.port = defaultPort
	}
	if port, err := strconv.Atoi(out.port); err != nil || port < 1 || port > 65535 {
		return options{}, broker.InvalidField("port", "must be between 1 and 65535")
	}
	return out, nil
}

func withSSH(out options) (options, error) {
	switch {
	case !userName.MatchString(out.user):
		return options{}, broker.InvalidField("username", "is not a user name")
	case out.password == "" && out.privateKey == "":
		return options{}, broker.InvalidField("privateKey", "give a private key or a password")
	}
	return withHost(out, defaultSSHPort)
}

func withTLS(out options) (options, error) {
	switch {
	case out.certificate == "":
		return options{}, broker.InvalidField("clientCertificate", "libvirtd wants a client certificate")
	case out.key == "":
		return options{}, broker.InvalidField("clientKey", "is missing")
	}
	return withHost(out, defaultTLSPort)
}
