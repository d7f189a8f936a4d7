// The part of noVNC 1.7's API (docs/API.md of the package) that the console uses.
declare module '@novnc/novnc' {
  interface RFBEvents {
    connect: CustomEvent<Record<string, never>>
    disconnect: CustomEvent<{ clean: boolean }>
    credentialsrequired: CustomEvent<{ types: string[] }>
    desktopname: CustomEvent<{ name: string }>
    securityfailure: CustomEvent<{ status: number; reason?: string }>
  }

  export default class RFB {
    constructor(target: HTMLElement, channel: WebSocket, options?: { shared?: boolean })
    scaleViewport: boolean
    resizeSession: boolean
    showDotCursor: boolean
    focusOnClick: boolean
    background: string
    addEventListener<K extends keyof RFBEvents>(type: K, listener: (event: RFBEvents[K]) => void): void
    disconnect(): void
    sendCredentials(credentials: { password: string }): void
    focus(options?: FocusOptions): void
    sendCtrlAltDel(): void
    sendKey(keysym: number, code: string | null, down?: boolean): void
  }
}
