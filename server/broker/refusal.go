package broker

import (
	"fmt"
	"slices"
	"strings"
)

// NodeRefusal says why a node did not get an order. Its text tells nothing about other tenants; the figures, which do, are for
// operators.
type NodeRefusal struct {
	NodeID   int64
	NodeName string
	Kind     string // driver
	Reason   Reason
	Args     []any
	Figures  *Figures
}

// Figures are what a refusal for lack of room was about: CPUs, bytes of memory or bytes of disk.
type Figures struct {
	Wanted int64
	// Promised is what machines were promised, Used what was in use when the node was looked at last.
	Promised, Used int64
	// Capacity is what may be promised: what there is times the overcommit setting.
	Capacity int64
}

// In gives the refusal's text in a language.
func (r *NodeRefusal) In(language Language) string { return r.Reason.In(language, r.Args...) }

// Reasons that a node is refused for, beside those that orders which name a node are refused for.
const (
	ReasonNoNodeFits     Reason = "no_node_fits"
	ReasonNodeDisabled   Reason = "node_disabled"
	ReasonNodeOffline    Reason = "node_offline"
	ReasonNodeLacks      Reason = "node_lacks_capability"
	ReasonNodeNoImage    Reason = "node_without_image"
	ReasonNodeNoBridge   Reason = "node_without_bridge"
	ReasonNodeNoStorage  Reason = "node_without_storage"
	ReasonNodeNoAddress  Reason = "node_without_address"
	ReasonNodeCPUs       Reason = "node_has_fewer_cpus"
	ReasonNodeCPUFull    Reason = "node_cpu_full"
	ReasonNodeMemoryFull Reason = "node_memory_full"
	ReasonNodeDiskFull   Reason = "node_disk_full"
	ReasonNodeGroup      Reason = "node_has_group_member"
)

var refusalTexts = map[Reason][2]string{
	ReasonNoNodeFits:     {"no node can take the order: %v", "没有可用的节点：%v"},
	ReasonNodeDisabled:   {"disabled by the operator", "已被管理员停用"},
	ReasonNodeOffline:    {"offline", "离线"},
	ReasonNodeLacks:      {"its hypervisor does not support %v", "虚拟化平台不支持 %v"},
	ReasonNodeNoImage:    {"the image is not there and can't be downloaded to it", "没有该镜像且无法下载"},
	ReasonNodeNoBridge:   {"it has no bridge %v", "没有网桥 %v"},
	ReasonNodeNoStorage:  {"it has no storage %v for disks", "没有可存放磁盘的存储 %v"},
	ReasonNodeNoAddress:  {"the addresses that the order names are not free there", "指定的 IP 地址不可用"},
	ReasonNodeCPUs:       {"it has fewer CPUs than the order wants", "CPU 数量少于订单要求"},
	ReasonNodeCPUFull:    {"not enough CPU left", "剩余 CPU 不足"},
	ReasonNodeMemoryFull: {"not enough memory left", "剩余内存不足"},
	ReasonNodeDiskFull:   {"not enough room left on storage %v", "存储 %v 剩余空间不足"},
	ReasonManaged:        {"guest %v is virtual machine %v already", "虚拟机 %v 已被纳管，编号 %v"},
	ReasonAdopted:        {"virtual machine %v was taken over: its system is not Gantry's to replace", "虚拟机 %v 为接管的虚拟机，不能重装系统"},
	ReasonNodeGroup:      {"it has a machine of the same anti-affinity group already", "已有同一反亲和组的虚拟机"},
}

// refusalsInText is how many refusals an error's sentence lists; all of them are in Error.Refused.
const refusalsInText = 20

// noNodeFits is the error for an order that no node took.
func noNodeFits(refusals []NodeRefusal) error {
	slices.SortFunc(refusals, func(a, b NodeRefusal) int { return int(a.NodeID - b.NodeID) })
	failure := Because(Exhausted, ReasonNoNodeFits, refusalList(refusals))
	failure.Refused = append([]NodeRefusal{}, refusals...) // not nil: the list is empty where there are no nodes
	return failure
}

// refusalList is an argument of a reason that can be said in both languages.
type refusalList []NodeRefusal

// In lists the refusals in a language.
func (l refusalList) In(language Language) string {
	if len(l) == 0 {
		if language == Chinese {
			return "没有符合条件的节点"
		}
		return "there is none"
	}
	var parts []string
	for i := range l[:min(len(l), refusalsInText)] {
		parts = append(parts, fmt.Sprintf("%s (%d): %s", l[i].NodeName, l[i].NodeID, l[i].In(language)))
	}
	text := strings.Join(parts, "; ")
	if more := len(l) - refusalsInText; more > 0 {
		text += fmt.Sprintf("; … +%d", more)
	}
	return text
}

func (l refusalList) String() string { return l.In(English) }
