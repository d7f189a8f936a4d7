package libvirt

import (
	"context"
	"fmt"

	golibvirt "github.com/digitalocean/go-libvirt"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// oldest is libvirt 6.0 (Ubuntu 20.04): from there on the flags and elements that are used here are known.
const oldest = 6_000_000

// Probe looks at version, QEMU, rights, pools and filters. With no key pinned it is the one call that may be made: it reports the one it
// met and holds itself to it. TLSPin is the certificate's SHA-256 over TLS, and the host key's over SSH.
func (d *driver) Probe(ctx context.Context) (hypervisor.Probe, error) {
	if err := d.meet(ctx); err != nil {
		return hypervisor.Probe{}, err
	}
	facts, err := d.facts(ctx)
	if err != nil {
		return hypervisor.Probe{}, err
	}
	number, err := read(ctx, d.client, (*rpc).ConnectGetLibVersion)
	if err != nil {
		return hypervisor.Probe{}, err
	}
	out := hypervisor.Probe{Version: versionText(number), TLSPin: d.client.transport.pin(), ThisNode: facts.name, Nodes: []string{facts.name}}
	if number < oldest {
		out.Problems = append(out.Problems, problem("old_version", true,
			fmt.Sprintf("libvirt %s is too old: 6.0 is needed.", out.Version), fmt.Sprintf("libvirt %s 版本过低，至少需要 6.0。", out.Version)))
	}
	if native, has := facts.machine.guests[facts.machine.native]; !has || !native.kvm {
		out.Problems = append(out.Problems, problem("no_kvm", false,
			"The host has no KVM: guests are emulated, which is many times slower. Enable virtualization in the firmware and load the kvm module.",
			"宿主机没有 KVM：虚拟机将以纯软件模拟运行，速度会慢很多。请在固件中启用虚拟化并加载 kvm 模块。"))
	}
	more, err := d.rights(ctx)
	if err != nil {
		return hypervisor.Probe{}, err
	}
	out.Problems = append(out.Problems, more...)
	if _, err := d.imagePool(ctx); broker.Is(err, broker.Unsupported) {
		out.Problems = append(out.Problems, problem("no_image_pool", false, broker.DetailOf(err)+".",
			"宿主机没有可用于镜像的存储池：请定义 dir 类型的存储池，或在集群设置中指定。"))
	} else if err != nil {
		return hypervisor.Probe{}, err
	}
	if d.options.antiSpoofing {
		filters, err := d.filterRef(ctx, nil)
		if err != nil {
			return hypervisor.Probe{}, err
		}
		if filters == nil {
			out.Problems = append(out.Problems, problem("no_nwfilter", false,
				"The host's libvirt has no network filters: guests can use addresses that are not theirs. Install libvirt-daemon-config-nwfilter.",
				"宿主机的 libvirt 没有网络过滤器：虚拟机可能使用不属于自己的地址。请安装 libvirt-daemon-config-nwfilter。"))
		}
	}
	return out, nil
}

// meet makes the connection in the name of a probe when there is none.
func (d *driver) meet(ctx context.Context) error {
	if d.client.steady() {
		return nil
	}
	s, err := d.client.open(context.WithValue(ctx, probing{}, true))
	if err != nil {
		return unreachable(err)
	}
	d.client.forgive()
	return s.conn.Close()
}

// rights tells whether the connection may change things: a read-only one can't even list what is needed here.
func (d *driver) rights(ctx context.Context) ([]hypervisor.Problem, error) {
	inactive, err := d.pools(ctx, golibvirt.ConnectListStoragePoolsInactive)
	if broker.Is(err, broker.HypervisorAuth) {
		return []hypervisor.Problem{problem("missing_privilege", true,
			"The connection may not manage libvirt: use libvirt's read-write socket and a user of the group libvirt.",
			"该连接无权管理 libvirt：请使用可读写的套接字，并将用户加入 libvirt 组。")}, nil
	}
	if err != nil {
		return nil, err
	}
	var out []hypervisor.Problem
	for _, pool := range inactive {
		out = append(out, problem("inactive_pool", false,
			fmt.Sprintf("Storage pool %q is not active: start it with `virsh pool-start`, and let it start with the host (`virsh pool-autostart`).", pool.Name),
			fmt.Sprintf("存储池 %q 未激活：请执行 `virsh pool-start`，并设置开机自启（`virsh pool-autostart`）。", pool.Name)))
	}
	return out, nil
}

func problem(reason string, fatal bool, en, zh string) hypervisor.Problem {
	return hypervisor.Problem{Reason: reason, Fatal: fatal, Text: map[broker.Language]string{broker.English: en, broker.Chinese: zh}}
}
