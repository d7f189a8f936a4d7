import type { Messages } from './en'

export const zh: Messages = {
  nav: {
    login: '登录', dashboard: '控制台', setup: '初始配置', machines: '虚拟机', tasks: '任务', nodes: '节点', pools: 'IP 池', images: '镜像', keys: 'API 密钥', absent: '页面不存在', recycle: '回收站', unmanaged: '未纳管', plans: '配置模板', models: '硬件型号', areas: '地区',
    consoles: 'VNC 控制器', admins: '管理员', audit: '审计日志', settings: '系统设置', account: '我的账号',
  },
  common: {
    cancel: '取消', close: '关闭', edit: '编辑', save: '保存', retry: '重试', refresh: '刷新', remove: '移除', delete: '删除', actions: '操作', pages: '分页',
    yes: '是', no: '否', never: '永不', note: '请注意', unfilter: '清除筛选', show: '显示{what}', hide: '隐藏{what}',
    copyWhat: '复制{what}', range: '第 {from}–{to} 项，共 {total} 项', typeName: '请输入以下内容确认：', typeNameOf: '请输入 {name} 确认',
  },
  failure: {
    title: '操作未成功', load: '加载失败。', unreachable: '服务器无响应，请检查网络后重试。', notJSON: '响应并非来自 Gantry，可能是中间代理的问题。',
    status: '服务器返回状态 {status}。', signedOut: '会话已结束，请重新登录。',
  },
  login: { title: 'Gantry', text: '登录以管理您的虚拟机。', username: '用户名', password: '密码', button: '登录', code: '两步验证码' },
  absent: { title: '这里什么都没有', text: '地址可能有误，或内容已被删除。' },
  shell: {
    skip: '跳到正文', menu: '主菜单', fold: '收起', unfold: '展开', breadcrumb: '当前位置', language: '语言', theme: '外观',
    themes: { system: '跟随系统', light: '浅色', dark: '深色' }, account: '账号', signOut: '退出登录', lost: '当前内容可能不是最新的。', groups: { daily: '虚拟机', places: '基础设施', offer: '产品', system: '系统' },
  },
  dashboard: {
    setup: '完成初始配置', continue: '继续', running: '{count} 台运行中', stopped: '{count} 台已关机', failed: '{count} 台异常',
    online: '{count} 个在线', freeAddresses: '空闲地址', usedAddresses: '{count} 个已使用', readyImages: '{count} 个可用',
    tasks: '最近任务', allTasks: '全部任务', capacity: '容量', promised: '已分配{what}', ofCores: '{used} / {total} 核', free: '剩余 {size}', load: '当前负载',
    week: '近 7 日虚拟机', busiest: '占用排行', noneRuns: '没有运行中的虚拟机。', attention: '需要关注', created: '创建', deleted: '销毁', dayOf: '创建 {created} 台，销毁 {deleted} 台',
    stuck: '有 {count} 个任务需要处理：任务失败且无法自动回滚。', showStuck: '查看',
  },
  setup: {
    text: '五步完成从空白安装到第一台虚拟机。', done: '已完成', finished: '一切就绪', finishedText: '可在此创建虚拟机，或由计费系统通过 API 密钥下单。',
    steps: {
      password: { title: '设置您自己的密码', text: '当前使用的是系统生成的初始密码，请更换为只有您知道的密码。' },
      node: { title: '连接虚拟化节点', text: '保存前会检查地址、证书、登录、版本和权限。' },
      pool: { title: '添加 IP 地址', text: '虚拟机从 IP 池获取地址。填写网关，其子网内的其余地址会自动加入。' },
      image: { title: '将镜像下载到节点', text: '添加云镜像并下载，虚拟机由镜像创建。' },
      machine: { title: '创建第一台虚拟机', text: '选择镜像和配置，约一分钟即可使用。' },
    },
  },
  status: {
    running: '运行中', stopped: '已关机', suspended: '已挂起', resuming: '恢复中', paused: '已暂停', expired: '已到期', creating: '创建中',
    starting: '开机中', stopping: '关机中', forceStopping: '强制关机中', suspending: '挂起中', pausing: '暂停中', rebooting: '重启中',
    reinstalling: '重装中', resettingPassword: '修改密码中', overTraffic: '流量超限', deleting: '删除中', failed: '异常', unknown: '未知',
  },
  power: { start: '开机', stop: '关机', shutdown: '强制断电', reboot: '重启', suspend: '挂起', resume: '恢复', pause: '暂停', unpause: '解除暂停并开机' },
  powerHint: {
    start: '接通电源', stop: '先通知系统，超时后强制关机', shutdown: '直接断电，未写入的数据会丢失', reboot: '重新启动系统',
    suspend: '将内存保存到磁盘并关机', resume: '从保存的内存继续运行', pause: '断电并禁止用户开机', unpause: '允许用户开机并立即开机',
  },
  machines: {
    text: '所有节点上的虚拟机，最新的在前。', create: '创建虚拟机', search: '名称、地址或 VMID', status: '状态', anyStatus: '全部状态',
    name: '名称', addresses: '地址', node: '节点', size: '规格', memory: '内存', uptime: '运行时间', cpus: '{n} 核', cpuOf: '{name} 的 CPU', memoryOf: '{name} 的内存',
    none: '还没有虚拟机', noneText: '在此创建，或由计费系统通过 API 下单。', noneFound: '未找到', noneFoundText: '搜索匹配名称、地址和 VMID 的开头。',
    anyNode: '全部节点', sort: '排序', sorts: { newest: '最新在前', oldest: '最早在前', name: '按名称' }, columns: '显示的列',
    column: { status: '状态', addresses: '地址', node: '节点', size: '规格', cpu: 'CPU', memory: '内存', uptime: '运行时间', expires: '到期时间' },
  },
  bulk: {
    chosen: '已选 {count} 台', none: '取消选择', all: '选择本页全部', choose: '选择 {name}', asked: '已向 {count} 台虚拟机下发操作。',
    forceText: '{names} 将立即断电，未写入磁盘的数据会丢失。请输入台数确认。',
  },
  machine: {
    power: '电源', powerOf: '{name} 的电源', reinstall: '重装系统', delete: '删除', overview: '概览', history: '任务', live: '实时数据',
    specs: '规格', system: '系统', access: '登录信息', network: '网络', address: '地址', disks: '磁盘', disk: '磁盘', storage: '存储',
    diskSize: '大小', systemDisk: '系统盘', dataDisk: '数据盘 {number}', traffic: '开机以来的流量', of: '共 {total}', created: '创建时间',
    cpuDetail: '{sockets} × {cores} × {threads}', noBandwidthLimit: '不限带宽', lastError: '上一个任务失败', drift: '与订购配置不一致',
    forceText: '{name} 将立即断电，未写入磁盘的数据会丢失。', gone: '该虚拟机不存在', goneText: '它已被删除，或从未存在。', deleteTitle: '删除 {name}？',
    deleteText: '虚拟机将被关闭并移入回收站，磁盘和地址会保留。若设置为不保留，则立即销毁。', deleteForGood: '永久删除', more: '更多', release: '解除纳管', released: '已解除纳管', releaseTitle: '解除纳管 {name}？', releaseText: 'Gantry 将不再管理它：虚拟机及磁盘在虚拟化平台上保持不变，其地址在此处释放。',
    renew: '修改到期时间', renewed: '到期时间已修改',
    renewHint: '在当天结束时到期。到期前处于运行状态的虚拟机会重新开机。',
  },
  charts: {
    load: '负载', range: '时间范围', ranges: { hour: '小时', day: '天', week: '周', month: '月', year: '年' }, wait: '磁盘等待', used: '已用', total: '总量', average: '平均负载', noneOfNode: '该虚拟化平台不保留节点的历史数据。', cpu: 'CPU', memory: '内存', network: '网络', disk: '磁盘', netin: '入站', netout: '出站', read: '读取', write: '写入',
    none: '暂无历史数据，首次开机几分钟后开始记录。',
  },
  console: {
    title: '控制台', reopen: '重新连接', window: '新窗口', off: '虚拟机未运行', offText: '开机后即可查看屏幕。',
    blocked: 'VNC 控制器不允许在此页面内嵌显示', blockedText: '请在新窗口中打开，或将 {origin} 加入其配置的 allowed_origins。',
  },
  create: {
    title: '创建虚拟机', image: '镜像', chooseImage: '选择镜像', notOnNode: '不在此节点', hostname: '主机名', hostnameHint: '默认：以短横线连接的首个地址',
    cores: '核心数', memory: '内存（MiB）', disk: '系统盘（GiB）', diskDefault: '按镜像默认', password: '密码', passwordHint: '默认：随机生成', address: '地址',
    anyAddress: '任意空闲地址', freeCount: '该节点有 {count} 个空闲 IPv4 地址', ipv4num: 'IPv4 数量', ipv6num: 'IPv6 数量', more: '更多设置', sockets: '插槽数',
    cpu: 'CPU 类型', storage: '存储', storageAuto: '自动：{name}', bridge: '网桥', bandwidth: '带宽（Mbps）', zeroUnlimited: '0 表示不限', readLimit: '磁盘读取（MB/s）',
    writeLimit: '磁盘写入（MB/s）', usernameHint: '默认：按系统而定', expires: '到期时间', dataDisks: '数据盘（GiB）', dataDisk: '数据盘 {number} 的大小', addDisk: '添加磁盘',
    sshKeys: 'SSH 公钥，每行一个', onBoot: '随节点启动', nested: '嵌套虚拟化', button: '创建', noNode: '还没有节点，请先添加。', noImage: '该节点上还没有镜像，请先下载。',
    ordered: '正在创建 {name}', orderedText: '资源已预留。可以关闭此窗口，任务会继续进行。', done: '{name} 已运行', show: '查看虚拟机',
  },
  reinstall: {
    title: '重装 {name}？', text: '系统盘将换成全新系统，名称和地址保留。只有确认新系统运行后，旧磁盘才会被删除。', password: '新密码', keepPassword: '保留当前密码',
    dataDisks: '同时清空数据盘', button: '重装系统',
  },
  task: {
    kind: '任务', machine: '虚拟机', machineNumber: '虚拟机 {id}', state: '状态', progress: '进度', by: '发起者', begun: '开始时间', ended: '结束时间', deadline: '截止时间',
    cancelledBy: '取消者', cancelling: '取消中', request: '请求', steps: '步骤', noSteps: '还没有完成的步骤。', undone: '已回滚', undoing: '回滚中', took: '用时 {time} 秒',
    undoneHint: '已创建和预留的资源均已回滚。请排除原因后重新操作。', stuckHint: '未能完全回滚，所占资源保持不变。请排除原因后重试。',
    kinds: { create: '创建', power: '电源', reinstall: '重装', delete: '删除', 'download-image': '下载镜像', 'delete-image': '删除镜像', password: '修改密码', resize: '调整配置', recycle: '移入回收站', 'install-daemon': '安装节点被控' },
    states: { ready: '排队中', running: '运行中', waiting: '进行中', undoing: '回滚中', done: '已完成', undone: '失败，已回滚', cancelled: '已取消', stuck: '需要处理' },
    stepStates: { done: '完成', failed: '失败', retried: '已重试' },
    told: { done: '{what} 已完成', undone: '{what} 失败，已回滚', stuck: '{what} 失败，需要处理' },
  },
  step: {
    'create-guest': '创建虚拟机', 'import-disk': '导入磁盘', 'attach-disk': '挂载磁盘', 'grow-disk': '扩容磁盘', start: '开机', verify: '确认运行状态', fetch: '下载',
    press: '执行操作', stop: '关机', 'replace-disks': '更换磁盘', configure: '配置', 'remove-old-disks': '删除旧磁盘', 'remove-guest': '删除虚拟机', release: '释放地址', 'grow-disks': '扩容磁盘', 'set-inside': '在系统内设置', remove: '删除文件', reserve: '预留资源', look: '检查', pool: '准备存储池', medium: '写入介质',
  },
  tasks: { text: '所有耗时操作及其步骤。', anyState: '全部状态', active: '进行中', anyKind: '全部任务', none: '没有任务', noneText: '下单后任务会显示在这里。' },
  nodes: {
    text: '承载虚拟机的虚拟化节点。', node: '节点', cluster: '地址', version: '版本', autoStorage: '新磁盘的存储', account: '账号', daemon: '节点被控', add: '添加节点', checking: '检查中',
    added: '节点已添加', none: '还没有节点', noneText: '连接一个 Proxmox VE 节点以开始使用。', problems: '节点已添加，但以下问题需要处理', host: '主机名或地址', port: '端口', signIn: '登录方式',
    byToken: 'API 令牌', byPassword: '密码', tokenId: '令牌 ID', tokenSecret: '令牌密钥', realm: '认证域', label: '显示名称', nodeName: '集群中的节点名', nodeNameHint: '默认：应答的节点',
    daemonHint: '被控负责在节点上下载镜像和导入磁盘。没有被控时，Proxmox VE 8.2 及以上版本会尽量自行完成。', controllerUrl: '被控地址', controllerSecret: '被控密钥',
    pin: '证书指纹（SHA-256）', pinHint: '默认：立即获取', kind: '虚拟化平台', missing: '还缺少：{fields}', area: '地区', mostRoom: '剩余空间最多的存储', kept: '保持不变', inUse: '启用', inUseHint: '未启用的节点不会创建新虚拟机，已有虚拟机不受影响。',
    changed: '节点已修改', deleted: '节点已移除', forget: '移除', forgetTitle: '移除 {name}？', change: '修改节点', forgetText: '仅从 Gantry 中移除该节点，虚拟化平台不会有任何改变。节点上仍有虚拟机或 IP 池时无法移除。',
    rootfs: '系统盘', loadAverage: '负载 {value}', facts: '节点信息', kernel: '内核', showMachines: '该节点上的虚拟机', storages: '存储', content: '内容', shared: '共享', noSize: '大小未知', inactive: '未激活', active: '已激活',
    networks: '网络', noNetworks: '尚未获取到该节点的网络。', states: { online: '在线', offline: '离线', disabled: '已禁用' },
    daemons: { answers: '正常', silent: '无响应', none: '无', unasked: '尚未检查' },
  },
  pools: {
    text: '虚拟机可使用的地址。', pool: 'IP 池', add: '添加 IP 池', added: 'IP 池已添加', none: '还没有 IP 池', noneText: '虚拟机需要地址。填写网关和前缀长度即可添加整个子网。',
    name: '名称', gateway: '网关', mask: '掩码', prefix: '前缀长度', dns1: '首选 DNS', dns2: '备用 DNS', maskHint: '网关子网内的所有可用地址都会加入，网关本身会被保留。',
    usage: '使用率', free: '空闲', used: '已使用', held: '保留', addRange: '添加地址段', rangeAdded: '已添加 {count} 个地址', start: '起始地址', end: '结束地址',
    rangeHint: '包含起止地址，已存在的地址会跳过。', noAddresses: '没有地址', noAddressesText: '为此 IP 池添加地址段。', change: '修改 IP 池', deleted: 'IP 池已删除', deleteTitle: '删除此 IP 池？', deleteText: '仍有虚拟机使用其地址时无法删除。', hold: '保留', release: '释放', facts: '{gateway} · 空闲 {free}，已使用 {used}，保留 {held}',
    states: { free: '空闲', used: '已使用', held: '网关或保留' },
  },
  images: {
    text: '用于创建虚拟机的系统。', add: '添加镜像', added: '镜像已添加', addedText: '下载到节点后即可使用。', none: '还没有镜像', noneText: '通过网址添加云镜像，然后下载到节点。',
    name: '名称', fileName: '文件名', system: '系统', size: '大小', addedOn: '添加时间', onNodes: '各节点状态', source: '来源', fromURL: '在线下载', byHand: '手动放置到节点', url: '网址（URL）',
    family: '系统类型', distribution: '发行版', arch: '架构', checksum: '校验和', checksumHint: '填写后会拒绝损坏或被篡改的下载。', cloud: '镜像带有 cloud-init', download: '下载', catalogue: '镜像目录', searchCatalogue: '系统名称', taken: '已添加', take: '添加', deleted: '镜像正在删除', deleteTitle: '删除此镜像？', deleteText: '各节点上的文件也会删除。仍有虚拟机使用时无法删除。',
    states: { absent: '未下载', downloading: '下载中', ready: '可用', failed: '失败' },
    distributions: { debian: 'Debian', ubuntu: 'Ubuntu', centos: 'CentOS', fedora: 'Fedora', alpine: 'Alpine', opensuse: 'openSUSE', ubuntukylin: '优麒麟', other: '其他' },
  },
  keys: {
    text: '供计费系统和脚本使用的凭据。', create: '创建密钥', made: '密钥已创建', once: '密钥只显示这一次，请立即复制。', appid: 'App ID', secret: '密钥', note: '备注', noNote: '无备注',
    noteHint: '例如：WHMCS', kept: '我已复制', usable: '可用', disabled: '已禁用', created: '创建时间', disable: '禁用', enable: '启用', none: '还没有 API 密钥',
    noneText: '计费系统使用密钥登录。', deleted: '密钥已删除', deleteTitle: '删除此密钥？', deleteText: '使用它的系统将立即被拒绝访问，由它订购的虚拟机会保留。',
  },
  resize: {
    open: '调整配置', title: '调整 {name}', grows: '磁盘只能扩大', restart: '立即重启', restartHint: '运行中无法生效的修改会在下次开机后生效。', passwordOpen: '修改密码', passwordTitle: '{name} 的新密码',
    passwordHint: '有客户机代理时直接在系统内设置，否则通过 cloud-init 并重启生效。',
  },
  install: {
    title: '安装节点被控', button: '安装', again: '重新安装', text: '通过 SSH 复制程序并作为服务启动，同时固定其证书。进度见任务。', user: 'SSH 用户', port: 'SSH 端口', password: '密码或私钥', passwordHint: '加密保存。', hostKey: '主机密钥指纹',
    hostKeyHint: '留空则使用已记录的密钥，首次连接时接受任意密钥', forget: '节点已重装：忘记旧的主机密钥',
  },
  unmanaged: {
    text: '虚拟化平台上不属于 Gantry 的虚拟机，纳管之前不会被改动。', search: '名称开头', adopt: '纳管', adoptTitle: '纳管 {name}', adoptText: '仅在虚拟机配置中写入归属标记，其他内容不变，运行不受影响。', adopted: '{name} 已纳管', address: '地址',
    addressHint: '留空则使用 cloud-init 中的地址', noted: '仅作记录，不会修改虚拟机', template: '模板', none: '没有未纳管的虚拟机', noneText: '虚拟化平台上的虚拟机都已在 Gantry 中。',
  },
  areas: {
    text: '地区及其中的节点。下单时可指定地区而不指定节点。', add: '添加地区', addBelow: '添加下级', change: '修改地区', name: '名称', parent: '上级地区', top: '顶级', deleted: '地区已删除', deleteTitle: '删除此地区？',
    deleteText: '地区内仍有下级地区或节点时无法删除。', outside: '未分配地区', putInto: '分配到地区', takeOut: '移出', none: '还没有地区', noneText: '有多个机房时，可按国家、城市、机房划分地区。',
  },
  plans: {
    text: '供下单引用的规格，计费系统只需记住编号。', name: '名称', add: '添加模板', change: '修改模板', cpuLimit: 'CPU 限制（%）', unlimited: '不限', deleted: '模板已删除', deleteTitle: '删除此模板？',
    deleteText: '由它创建的虚拟机保持不变，之后引用它的订单会被拒绝。', none: '还没有配置模板', noneText: '模板包含规格和限制，下单时按编号引用。',
  },
  models: {
    text: '虚拟机中显示的硬件信息。组合将 CPU 型号与 SMBIOS 表放在一起。', groups: '组合', group: '型号组合', cpus: 'CPU 型号', cpu: 'CPU 型号', info: '说明', brand: '型号名称', vendor: '厂商', family: '系列', model: '型号', stepping: '步进',
    level: '最高基本叶', xlevel: '最高扩展叶', l3: '显示三级缓存', numbers: '系列 / 型号 / 步进', type: '表类型', types: { '0': '固件', '1': '系统', '2': '主板', '3': '机箱', '4': '处理器', '17': '内存' }, content: '内容',
    preview: '传给 QEMU 的参数', noArguments: '除订单内容外没有其他参数。', systemTable: '系统表：', add: { groups: '添加组合', cpus: '添加 CPU 型号', tables: '添加 SMBIOS 表' }, changeIt: '修改', deleted: '已删除', deleteTitle: '确认删除？',
    deleteText: '正在使用它的虚拟机在下次开机前保持不变。', none: '暂无内容', noneText: '未设置型号时，虚拟机显示订单中的 CPU 类型。',
  },
  admins: {
    text: '可以使用此管理面板的人。', add: '添加管理员', change: '修改管理员', name: '姓名', email: '邮箱', phone: '电话', lastLogin: '上次登录', you: '当前账号', passwordHint: '8 到 128 个字符', keepPassword: '保持不变', deleted: '管理员已删除',
    deleteTitle: '删除此管理员？', deleteText: '其会话将立即结束。',
  },
  consoles: {
    text: '将虚拟机屏幕传送到浏览器的程序，建议部署在节点附近。', add: '添加 VNC 控制器', change: '修改 VNC 控制器', name: '名称', host: '地址', hostHint: '服务器访问它的地址', domain: '公开域名', domainHint: '浏览器访问的地址，端口不同时加 :端口', secret: '密钥',
    secretHint: '与其配置中的一致；留空则自动生成。', secretKept: '留空则保持不变', secure: '浏览器使用 https', disabled: '停用', once: '密钥只显示这一次，请填入控制器的配置中。', url: '浏览器访问', checked: '检查时间',
    states: { disabled: '已停用', unasked: '尚未检查', answers: '正常', silent: '无响应' }, none: '还没有 VNC 控制器', noneText: '没有它就无法查看屏幕。', deleted: 'VNC 控制器已删除', deleteTitle: '删除此 VNC 控制器？', deleteText: '正在显示的屏幕会断开，之后不再使用它。',
  },
  settings: {
    text: '对所有虚拟机和节点生效。', machines: '虚拟机', linuxDisk: 'Linux 系统盘（GiB）', windowsDisk: 'Windows 系统盘（GiB）', diskHint: '订单未指定大小时使用', deleteDays: '回收站保留天数', deleteDaysHint: '0 表示立即销毁', placement: '自动分配',
    placementText: '订单未指定节点时，节点资源最多可分配的比例。超过 100 % 表示超售。', cpuPercent: 'CPU（%）', memoryPercent: '内存（%）', diskPercent: '磁盘（%）', daemon: '节点被控', daemonText: '手动安装被控时使用的密钥。持有者可以修改节点上的磁盘。',
    showSecret: '显示密钥', about: '关于', development: '开发版本', saved: '设置已保存',
  },
  recycle: {
    text: '已删除的虚拟机及其资源保留在这里。', none: '回收站是空的', noneText: '已删除的虚拟机会按设置的天数保留。', since: '删除时间', until: '销毁时间', restore: '恢复', restored: '{name} 已恢复', destroy: '彻底删除',
    destroyText: '虚拟机将连同所有磁盘一起销毁，地址会被释放。此操作无法撤销。',
  },
  audit: {
    text: '谁修改了什么，敏感内容已隐藏。', call: '调用', result: '结果', done: '成功', refused: '被拒绝（{code}）', who: '操作者', from: '来源', when: '时间', none: '还没有任何修改', noneText: '通过 API 的每次修改都会显示在这里。',
  },
  account: {
    present: '当前密码', fresh: '新密码', again: '再次输入新密码', differs: '与新密码不一致', change: '修改密码', passwordText: '您的其他会话将全部结束。', passwordChanged: '密码已修改', factor: '两步验证', factorText: '登录时需要输入手机应用显示的验证码。', on: '已开启',
    off: '未开启', setUp: '设置', scan: '用验证器应用扫描此二维码，或手动输入密钥。', secret: '密钥', turnOn: '开启', takeAway: '关闭', factorOn: '两步验证已开启', factorOff: '两步验证已关闭',
  },
}
