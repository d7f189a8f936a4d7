import type RFB from '@novnc/novnc'
import { connect, retryAfter, type Ending } from './connection'
import { watchSoftKeys } from './softkeys'
import { textsFor } from './texts'
import { typeText } from './typing'

type State = 'connecting' | 'connected' | 'disconnected'

const { lang, texts } = textsFor(navigator.language)

function element<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id)
  if (!(found instanceof kind)) throw new Error(`page has no ${id}`)
  return found
}

const screen = element('screen', HTMLDivElement)
const status = element('status', HTMLSpanElement)
const noticeTitle = element('notice-title', HTMLHeadingElement)
const noticeText = element('notice-text', HTMLParagraphElement)
const noticeDetail = element('notice-detail', HTMLParagraphElement)
const reconnect = element('reconnect', HTMLButtonElement)
const tools = ['keyboard', 'ctrl-alt-del', 'paste'].map((id) => element(id, HTMLButtonElement))
const pasteDialog = element('paste-dialog', HTMLDialogElement)
const pasteText = element('paste-text', HTMLTextAreaElement)
const passwordDialog = element('password-dialog', HTMLDialogElement)
const passwordText = element('password-text', HTMLInputElement)
const softKeys = element('soft-keys', HTMLTextAreaElement)

let viewer: RFB | undefined
let attempt = 0
let waiting: ReturnType<typeof setTimeout> | undefined

// The token stands in the fragment, which is never sent to a server.
const token = new URLSearchParams(location.hash.slice(1)).get('token') ?? ''

function show(state: State, title: string, text = '', detail = ''): void {
  document.body.dataset['state'] = state
  // A page that embeds this one learns that it was let in, and how the console stands.
  if (parent !== window) parent.postMessage({ console: state }, '*')
  status.textContent = title
  noticeTitle.textContent = title
  noticeText.textContent = text
  noticeDetail.textContent = detail
  reconnect.hidden = state !== 'disconnected' || token === ''
  for (const tool of tools) tool.disabled = state !== 'connected'
}

function name(text: string): void {
  element('name', HTMLHeadingElement).textContent = text
  document.title = text === texts.console ? text : `${text} – ${texts.console}`
}

function open(): void {
  clearTimeout(waiting)
  screen.replaceChildren()
  connect(screen, token, {
    connected(rfb) {
      viewer = rfb
      attempt = 0
      show('connected', texts.connected)
      rfb.focus()
    },
    named(text) {
      if (text !== '') name(text)
    },
    asked(answer) {
      passwordText.value = ''
      passwordDialog.returnValue = ''
      passwordDialog.addEventListener(
        'close',
        () => {
          answer(passwordDialog.returnValue === 'open' ? passwordText.value : undefined)
          passwordText.value = ''
        },
        { once: true },
      )
      passwordDialog.showModal()
      passwordText.focus()
    },
    ended(ending) {
      viewer = undefined
      passwordDialog.close()
      const pause = retryAfter(ending, attempt)
      if (pause === undefined || (attempt === 0 && !ending.wasConnected)) {
        showEnding(ending)
        return
      }
      attempt++
      show('connecting', texts.reconnecting, reasonOf(ending))
      waiting = setTimeout(open, pause * 1000)
    },
  })
}

// showEnding says why the console ended. The proxy's own words come below where they say more than the reason does.
function showEnding(ending: Ending): void {
  attempt = 0
  const showsDetail = ending.code === 4015 || ending.code === 4016
  show('disconnected', texts.disconnected, reasonOf(ending), showsDetail ? ending.detail : '')
  reconnect.focus()
}

function reasonOf(ending: Ending): string {
  const known = texts.reasons[ending.code]
  if (known !== undefined) return known
  if (ending.code === 1000) return texts.closed
  return ending.wasConnected ? texts.lost : texts.unreachable
}

function start(): void {
  attempt = 0
  show('connecting', texts.connecting)
  open()
}

function label(id: string, text: string): void {
  element(id, HTMLElement).textContent = text
}

function labelAll(): void {
  document.documentElement.lang = lang
  name(texts.console)
  label('keyboard', texts.keyboard)
  label('paste', texts.paste)
  label('paste-title', texts.paste)
  label('paste-hint', texts.pasteHint)
  label('paste-send', texts.send)
  label('paste-cancel', texts.cancel)
  label('reconnect', texts.reconnect)
  label('password-title', texts.password)
  label('password-open', texts.open)
  label('password-cancel', texts.cancel)
  label('fullscreen', texts.fullscreen)
}

function listen(): void {
  reconnect.addEventListener('click', start)
  element('ctrl-alt-del', HTMLButtonElement).addEventListener('click', () => {
    viewer?.sendCtrlAltDel()
    viewer?.focus()
  })
  element('keyboard', HTMLButtonElement).addEventListener('click', () => {
    softKeys.focus()
  })
  element('password-cancel', HTMLButtonElement).addEventListener('click', () => {
    passwordDialog.close()
  })
  watchSoftKeys(softKeys, () => viewer)
  element('paste', HTMLButtonElement).addEventListener('click', () => {
    pasteText.value = ''
    pasteDialog.returnValue = ''
    pasteDialog.showModal()
    pasteText.focus()
  })
  pasteDialog.addEventListener('close', () => {
    if (viewer && pasteDialog.returnValue === 'send') void typeText(viewer, pasteText.value)
    pasteText.value = ''
    viewer?.focus()
  })
  const fullscreen = element('fullscreen', HTMLButtonElement)
  fullscreen.hidden = !document.fullscreenEnabled
  fullscreen.addEventListener('click', () => {
    // A browser may refuse; then nothing changes and the button stays as it is.
    const change = document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()
    change.catch(() => undefined)
  })
  document.addEventListener('fullscreenchange', () => {
    fullscreen.textContent = document.fullscreenElement ? texts.leaveFullscreen : texts.fullscreen
  })
  // A link pasted over the old one in the same tab changes the fragment only.
  addEventListener('hashchange', () => {
    location.reload()
  })
}

labelAll()
listen()
if (token === '') show('disconnected', texts.disconnected, texts.noToken)
else start()
