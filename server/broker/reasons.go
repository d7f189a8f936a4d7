package broker

import (
	"fmt"
	"slices"
)

// Language is one that people-facing texts exist in.
type Language string

const (
	English Language = "en"
	Chinese Language = "zh"
)

// Reason is a stable word for a failure that people or billing modules meet; each has a text in every language.
type Reason string

const (
	ReasonNodeNotFound          Reason = "node_not_found"
	ReasonNodeUnavailable       Reason = "node_unavailable"
	ReasonNoIPv4                Reason = "no_free_ipv4"
	ReasonNoIPv6                Reason = "no_free_ipv6"
	ReasonImageMissing          Reason = "image_missing"
	ReasonImageNotFound         Reason = "image_not_found"
	ReasonImageNotOnNode        Reason = "image_not_on_node"
	ReasonCPUType               Reason = "cpu_type_unknown"
	ReasonCPUNotNested          Reason = "cpu_type_not_nested"
	ReasonArchitecture          Reason = "architecture_unknown"
	ReasonVMNotFound            Reason = "vm_not_found"
	ReasonVMExpired             Reason = "vm_expired"
	ReasonVMSuspended           Reason = "vm_suspended"
	ReasonVMRecycled            Reason = "vm_in_recycle_bin"
	ReasonVMBusy                Reason = "vm_busy"
	ReasonVMNotRunning          Reason = "vm_not_running"
	ReasonHostnameTaken         Reason = "hostname_taken"
	ReasonHostnameInvalid       Reason = "hostname_invalid"
	ReasonPoolNotFound          Reason = "pool_not_found"
	ReasonPoolInUse             Reason = "pool_in_use"
	ReasonNoConsoleNode         Reason = "no_console_node"
	ReasonNoVMID                Reason = "no_free_vmid"
	ReasonOrderDiffers          Reason = "order_differs"
	ReasonStorageNotFound       Reason = "storage_not_found"
	ReasonStorageFull           Reason = "storage_full"
	ReasonUnsupported           Reason = "unsupported_by_hypervisor"
	ReasonForeignGuest          Reason = "foreign_guest"
	ReasonHypervisorUnreachable Reason = "hypervisor_unreachable"
	ReasonTaskDeadline          Reason = "task_deadline"
	ReasonCancelled             Reason = "task_cancelled"
	ReasonTaskNotFound          Reason = "task_not_found"
	ReasonPlanNotFound          Reason = "plan_not_found"
	ReasonWrongPassword         Reason = "wrong_password"
	ReasonAccountDisabled       Reason = "account_disabled"
	ReasonTooManyAttempts       Reason = "too_many_attempts"
	ReasonCodeRequired          Reason = "code_required"
	ReasonWrongCode             Reason = "wrong_code"
	ReasonAdminNotFound         Reason = "admin_not_found"
	ReasonLastAdmin             Reason = "last_admin"
	ReasonAreaNotFound          Reason = "area_not_found"
	ReasonAreaTaken             Reason = "area_taken"
	ReasonAreaInUse             Reason = "area_in_use"
	ReasonNodeInUse             Reason = "node_in_use"
	ReasonImageInUse            Reason = "image_in_use"
	ReasonConsoleNodeNotFound   Reason = "console_node_not_found"
)

var reasonTexts = map[Reason][2]string{
	ReasonNodeNotFound:          {"node %v does not exist", "节点 %v 不存在"},
	ReasonNodeUnavailable:       {"node %v is not available: %v", "节点 %v 不可用：%v"},
	ReasonNoIPv4:                {"not enough free IPv4 addresses: %d wanted", "可用 IPv4 地址不足：需要 %d 个"},
	ReasonNoIPv6:                {"not enough free IPv6 addresses: %d wanted", "可用 IPv6 地址不足：需要 %d 个"},
	ReasonImageMissing:          {"no image was named", "未指定镜像"},
	ReasonImageNotFound:         {"image %q does not exist", "镜像 %q 不存在"},
	ReasonImageNotOnNode:        {"image %q is not on node %v yet: download it first", "镜像 %q 尚未下载到节点 %v"},
	ReasonCPUType:               {"unknown CPU type %q", "未知的 CPU 类型 %q"},
	ReasonCPUNotNested:          {"CPU type %q can't do nested virtualisation: use host or max", "CPU 类型 %q 不支持嵌套虚拟化，请使用 host 或 max"},
	ReasonArchitecture:          {"unknown architecture %q", "未知的架构 %q"},
	ReasonVMNotFound:            {"virtual machine %v does not exist", "虚拟机 %v 不存在"},
	ReasonVMExpired:             {"virtual machine %v has expired", "虚拟机 %v 已到期"},
	ReasonVMSuspended:           {"virtual machine %v is suspended", "虚拟机 %v 已暂停"},
	ReasonVMRecycled:            {"virtual machine %v is in the recycle bin", "虚拟机 %v 在回收站中"},
	ReasonVMBusy:                {"virtual machine %v is busy: %v", "虚拟机 %v 正在执行其他任务：%v"},
	ReasonVMNotRunning:          {"virtual machine %v is not running", "虚拟机 %v 未运行"},
	ReasonHostnameTaken:         {"host name %q is taken", "主机名 %q 已被使用"},
	ReasonHostnameInvalid:       {"host name %q is not a valid DNS name", "主机名 %q 不是有效的 DNS 名称"},
	ReasonPoolNotFound:          {"address pool %v does not exist", "IP 池 %v 不存在"},
	ReasonPoolInUse:             {"address pool %v has addresses in use", "IP 池 %v 中有正在使用的地址"},
	ReasonNoConsoleNode:         {"no console proxy is available", "没有可用的 VNC 控制器"},
	ReasonNoVMID:                {"cluster %v has no free VMID left", "集群 %v 没有可用的 VMID"},
	ReasonOrderDiffers:          {"this idempotency key was used for a different order", "该幂等键已用于另一订单"},
	ReasonStorageNotFound:       {"storage %q does not exist on node %v or does not take disk images", "节点 %[2]v 上不存在可存放磁盘的存储 %[1]q"},
	ReasonStorageFull:           {"no storage on node %v has room for %d GiB", "节点 %v 上没有可容纳 %d GiB 的存储"},
	ReasonUnsupported:           {"not supported by this hypervisor: %v", "当前虚拟化平台不支持：%v"},
	ReasonForeignGuest:          {"guest %v on the hypervisor is not ours: its owner mark differs", "虚拟化平台上的 %v 不属于本系统：所有者标记不符"},
	ReasonHypervisorUnreachable: {"the hypervisor can't be reached: %v", "无法连接虚拟化平台：%v"},
	ReasonTaskDeadline:          {"not finished in time: %v", "未在规定时间内完成：%v"},
	ReasonCancelled:             {"cancelled by %v", "已被 %v 取消"},
	ReasonTaskNotFound:          {"task %v does not exist", "任务 %v 不存在"},
	ReasonPlanNotFound:          {"unknown plan %v", "配置模板 %v 不存在"},
	ReasonWrongPassword:         {"wrong username or password", "账号或密码错误"},
	ReasonAccountDisabled:       {"this account is disabled", "账号封禁"},
	ReasonAdminNotFound:         {"administrator %v does not exist", "账号 %v 不存在"},
	ReasonLastAdmin:             {"this is the last administrator that can log in", "不能删除最后一个可登录的管理员"},
	ReasonAreaNotFound:          {"area %v does not exist", "地区 %v 不存在"},
	ReasonAreaTaken:             {"area %q exists already", "该地区已存在：%q"},
	ReasonAreaInUse:             {"area %v still has %d areas and %d nodes", "地区 %v 下仍有 %d 个子地区和 %d 个节点"},
	ReasonNodeInUse:             {"node %v still has %d virtual machines and %d address pools", "节点 %v 上仍有 %d 台虚拟机和 %d 个 IP 池"},
	ReasonImageInUse:            {"image %q is in use: %v", "镜像 %q 正在使用：%v"},
	ReasonConsoleNodeNotFound:   {"console proxy %v does not exist", "VNC 控制器 %v 不存在"},
	ReasonTooManyAttempts:       {"too many failed attempts: try again in %d seconds", "失败次数过多，请在 %d 秒后重试"},
	ReasonCodeRequired:          {"the code of the second factor is needed", "需要两步验证码"},
	ReasonWrongCode:             {"wrong code: look whether the clock of the device is right", "验证码错误，请检查设备时间是否准确"},
}

// In gives the reason's text in a language with args filled in; an unknown reason reads as itself.
func (r Reason) In(language Language, args ...any) string {
	texts, known := reasonTexts[r]
	if !known {
		if texts, known = refusalTexts[r]; !known {
			return string(r)
		}
	}
	for i, arg := range args {
		if spoken, is := arg.(interface{ In(Language) string }); is {
			args = slices.Clone(args)
			args[i] = spoken.In(language)
		}
	}
	text := texts[0]
	if language == Chinese {
		text = texts[1]
	}
	return fmt.Sprintf(text, args...)
}
