import { answer, admin, basePath, type Task } from '../api/client'
import { Failure, failureOf } from '../api/failure'
import { signOut, token } from '../api/session'
import { translate } from '../texts'
import { newestCount, type Deliver, type Source } from './source'

const retryPauses = [1000, 2000, 5000, 10_000]

// Message is one server-sent event.
export interface Message { name: string; data: string }

// messages cuts a text into events; rest is what is not complete yet.
export function messages(text: string): { complete: Message[]; rest: string } {
  const parts = text.split('\n\n')
  const rest = parts.pop() ?? ''
  const complete = parts.flatMap((part) => {
    const message = { name: '', data: '' }
    for (const line of part.split('\n')) {
      if (line.startsWith('event: ')) message.name = line.slice(7)
      if (line.startsWith('data: ')) message.data = line.slice(6)
    }
    return message.name === '' ? [] : [message]
  })
  return { complete, rest }
}

// merged puts a task that changed into a list of the newest.
export function merged(tasks: readonly Task[], changed: Task): Task[] {
  const others = tasks.filter((task) => task.id !== changed.id)
  return [...others, changed].sort((a, b) => b.id - a.id).slice(0, Math.max(newestCount, tasks.length))
}

// listen takes the server's event stream: one request that lasts, no polling. Each time that it begins anew the newest tasks are asked
// for once, so that nothing is missed in between.
export function listen(deliver: Deliver): Source {
  let known: Task[] = []
  let failures = 0
  let timer: ReturnType<typeof setTimeout> | undefined
  let current: AbortController | undefined
  let stopped = false

  async function load(): Promise<void> {
    const { data } = await answer(admin.GET('/getTaskByPage', { params: { query: { page: 1, size: newestCount } } }))
    known = data.records
    deliver.tasks(known)
  }

  function take(message: Message): void {
    if (message.name === 'observed') deliver.observed()
    if (message.name !== 'task') return
    known = merged(known, JSON.parse(message.data) as Task)
    deliver.tasks(known)
  }

  async function read(signal: AbortSignal): Promise<void> {
    const response = await fetch(`${location.origin}${basePath}/events`, {
      headers: { Authorization: `Bearer ${token.value}`, Accept: 'text/event-stream' }, cache: 'no-store', credentials: 'omit', redirect: 'error', signal,
    })
    if (response.status === 401) {
      signOut()
      return
    }
    if (!(response.headers.get('Content-Type') ?? '').startsWith('text/event-stream') || response.body === null) throw new Failure('broken', translate('failure.status', { status: response.status }))
    await load()
    failures = 0
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      const cut = messages(text + value)
      text = cut.rest
      for (const message of cut.complete) take(message)
    }
  }

  async function run(): Promise<void> {
    clearTimeout(timer)
    current?.abort()
    if (stopped || document.hidden) return
    const mine = new AbortController()
    current = mine
    try {
      await read(mine.signal)
    } catch (thrown) {
      if (mine.signal.aborted) return
      failures++
      deliver.lost(thrown instanceof TypeError ? new Failure('unreachable', translate('failure.unreachable')) : failureOf(thrown))
    }
    if (current !== mine) return
    timer = setTimeout(() => void run(), failures === 0 ? 0 : (retryPauses[Math.min(failures, retryPauses.length) - 1] ?? 1000))
  }

  // Nobody looks: the server need not send.
  const looked = () => {
    if (document.hidden) current?.abort()
    else void run()
  }
  document.addEventListener('visibilitychange', looked)
  void run()
  return {
    hurry: () => {
      load().catch(() => undefined)
    },
    stop() {
      stopped = true
      clearTimeout(timer)
      current?.abort()
      document.removeEventListener('visibilitychange', looked)
    },
  }
}
