import RFB from '@novnc/novnc'

// Ending says why a connection ended: the websocket's close code, the proxy's own words, and whether pixels ever flowed.
export interface Ending {
  code: number
  detail: string
  wasConnected: boolean
}

export interface Handlers {
  connected: (rfb: RFB) => void
  named: (name: string) => void
  // The console has a password: the one typed goes to answer, or undefined to leave.
  asked: (answer: (password: string | undefined) => void) => void
  ended: (ending: Ending) => void
}

// connect opens one connection to the proxy that served this page and draws into target. handlers.ended is called once, at the end.
export function connect(target: HTMLElement, token: string, handlers: Handlers): void {
  const address = new URL('ws', location.href)
  address.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:'
  address.hash = ''
  address.search = new URLSearchParams({ token }).toString()

  const socket = new WebSocket(address, 'binary')
  let wasConnected = false
  // noVNC passes no close code on, so the socket is opened here and listened to first.
  socket.addEventListener('close', (event) => {
    handlers.ended({ code: event.code, detail: event.reason, wasConnected })
  })

  const rfb = new RFB(target, socket, { shared: true })
  rfb.scaleViewport = true
  rfb.resizeSession = false
  rfb.showDotCursor = true
  rfb.background = 'transparent'
  rfb.addEventListener('connect', () => {
    wasConnected = true
    handlers.connected(rfb)
  })
  rfb.addEventListener('credentialsrequired', () => {
    handlers.asked((password) => {
      if (password === undefined) rfb.disconnect()
      else rfb.sendCredentials({ password })
    })
  })
  rfb.addEventListener('desktopname', (event) => {
    handlers.named(event.detail.name)
  })
}

// Codes after which trying again may help without anybody's doing: a network that dropped (1006), a guest whose display came
// and went with a reboot, a proxy or a node that restarts.
const passing = new Set([1001, 1006, 1012, 4014, 4017, 4024, 4025])

const pauses = [1, 2, 4, 8, 15]

// retryAfter gives the seconds to wait before trying again by ourselves, or undefined to leave it to the user.
export function retryAfter(ending: Ending, attempt: number): number | undefined {
  return passing.has(ending.code) ? pauses[attempt] : undefined
}
