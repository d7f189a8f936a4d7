// All words of the console page. Close codes are those of internal/consoleapi/reason.go, where a test compares the two.

export interface Texts {
  console: string
  connecting: string
  connected: string
  reconnecting: string
  disconnected: string
  reconnect: string
  password: string
  open: string
  keyboard: string
  paste: string
  pasteHint: string
  send: string
  cancel: string
  fullscreen: string
  leaveFullscreen: string
  noToken: string
  unreachable: string
  lost: string
  closed: string
  reasons: Record<number, string>
}

const english: Texts = {
  console: 'Console',
  connecting: 'Connecting…',
  connected: 'Connected',
  reconnecting: 'Connection lost, trying again…',
  disconnected: 'Disconnected',
  reconnect: 'Reconnect',
  password: 'Password of this console',
  open: 'Open',
  keyboard: 'Keyboard',
  paste: 'Type text',
  pasteHint: 'The text is typed into the console key by key, as on a US keyboard.',
  send: 'Type',
  cancel: 'Cancel',
  fullscreen: 'Full screen',
  leaveFullscreen: 'Leave full screen',
  noToken: 'This address has no console link in it. Open the console from your control panel again.',
  unreachable: 'The console server can’t be reached.',
  lost: 'The connection was lost.',
  closed: 'The console was closed.',
  reasons: {
    4001: 'This console link is not valid. Open the console from your control panel again.',
    4002: 'This console link has expired. Open the console from your control panel again.',
    4003: 'This console link was already used in another browser. Open the console from your control panel again.',
    4004: 'This console link was made for another network address.',
    4005: 'The console session has reached its time limit. Open the console from your control panel again.',
    4006: 'The console session was ended by the operator.',
    4007: 'The password of this console is wrong.',
    4010: 'The virtual machine is switched off. Start it, then reconnect.',
    4011: 'The virtual machine does not exist any more.',
    4012: 'The virtual machine is busy with a task. Try again when it is done.',
    4013: 'This virtual machine has no graphical console.',
    4014: 'The node of the virtual machine can’t be reached.',
    4015: 'The hypervisor refused the console ticket.',
    4016: 'The hypervisor could not open the console.',
    4017: 'The virtual machine’s display was closed. It may have been switched off.',
    4020: 'Too many consoles are open. Close one and try again.',
    4021: 'The console was closed because nobody used it.',
    4022: 'The console was closed because this browser stopped receiving data.',
    4023: 'The console was opened in another window.',
    4024: 'The console server is restarting.',
    4025: 'The management server can’t be reached.',
    4026: 'The browser sent something that the console does not understand.',
    4099: 'Something went wrong on the server.',
  },
}

const chinese: Texts = {
  console: '控制台',
  connecting: '正在连接…',
  connected: '已连接',
  reconnecting: '连接中断，正在重试…',
  disconnected: '已断开',
  reconnect: '重新连接',
  password: '控制台密码',
  open: '打开',
  keyboard: '键盘',
  paste: '输入文本',
  pasteHint: '文本将按美式键盘逐键输入到控制台。',
  send: '输入',
  cancel: '取消',
  fullscreen: '全屏',
  leaveFullscreen: '退出全屏',
  noToken: '此地址中没有控制台链接，请从控制面板重新打开控制台。',
  unreachable: '无法连接控制台服务器。',
  lost: '连接已中断。',
  closed: '控制台已关闭。',
  reasons: {
    4001: '控制台链接无效，请从控制面板重新打开控制台。',
    4002: '控制台链接已过期，请从控制面板重新打开控制台。',
    4003: '此控制台链接已在其他浏览器中使用，请从控制面板重新打开控制台。',
    4004: '此控制台链接仅限其他网络地址使用。',
    4005: '控制台会话已达时间上限，请从控制面板重新打开控制台。',
    4006: '控制台会话已被管理员结束。',
    4007: '控制台密码错误。',
    4010: '虚拟机已关机，请开机后重新连接。',
    4011: '虚拟机已不存在。',
    4012: '虚拟机正在执行任务，请稍后再试。',
    4013: '此虚拟机没有图形控制台。',
    4014: '无法连接虚拟机所在的节点。',
    4015: '虚拟化平台拒绝了控制台票据。',
    4016: '虚拟化平台无法打开控制台。',
    4017: '虚拟机的显示已关闭，可能已经关机。',
    4020: '打开的控制台过多，请关闭一个后重试。',
    4021: '控制台因长时间无操作已关闭。',
    4022: '浏览器停止接收数据，控制台已关闭。',
    4023: '控制台已在另一个窗口中打开。',
    4024: '控制台服务器正在重启。',
    4025: '无法连接管理服务器。',
    4026: '浏览器发送了控制台无法识别的数据。',
    4099: '服务器出现错误。',
  },
}

// textsFor picks the language of the browser: Chinese for zh in any form, else English.
export function textsFor(language: string): { lang: string; texts: Texts } {
  return /^zh\b/i.test(language) ? { lang: 'zh-CN', texts: chinese } : { lang: 'en', texts: english }
}
