import { computed, onScopeDispose, shallowReactive, shallowRef, watch } from 'vue'
import type { Task } from '../api/client'
import type { Failure } from '../api/failure'
import { token } from '../api/session'
import { isFinal, type Source } from './source'
import { listen } from './stream'

// What is known of the newest tasks.
export const tasks = shallowRef<Task[]>([])
export const loaded = shallowRef(false)
export const lost = shallowRef<Failure>()

export const activeTasks = computed(() => tasks.value.filter((task) => !isFinal(task)))

type Listener = (task: Task) => void
const finishedListeners = new Set<Listener>()
const changeListeners = new Set<Listener>()
const observedListeners = new Set<() => void>()
// started holds the tasks that this tab asked for; their end is told by a notice.
export const started = shallowReactive(new Set<number>())

let source: Source | undefined

// take compares what a source delivers with what was known and tells the listeners.
export function take(list: Task[]): void {
  const before = new Map(tasks.value.map((task) => [task.id, task]))
  const first = !loaded.value
  // An answer may be overtaken by an event: what is older than what is known tells nothing.
  const newest = list.map((task) => {
    const old = before.get(task.id)
    return old !== undefined && (old.updateTime > task.updateTime || (old.updateTime === task.updateTime && isFinal(old) && !isFinal(task))) ? old : task
  })
  tasks.value = newest
  loaded.value = true
  lost.value = undefined
  if (first) return
  for (const task of newest) {
    const old = before.get(task.id)
    if (old !== undefined && old.updateTime === task.updateTime && old.state === task.state && old.progress === task.progress) continue
    for (const tell of [...changeListeners]) tell(task)
    if (isFinal(task) && (old === undefined || !isFinal(old))) for (const tell of [...finishedListeners]) tell(task)
  }
}

watch(
  token,
  (present) => {
    source?.stop()
    source = undefined
    tasks.value = []
    loaded.value = false
    started.clear()
    if (present === '') return
    source = listen({
      tasks: take,
      observed() {
        for (const tell of [...observedListeners]) tell()
      },
      lost(failure) {
        lost.value = failure
      },
    })
  },
  { immediate: true },
)

// begun notes a task that this tab started, and asks for news.
export function begun(task: number | undefined): void {
  if (task !== undefined) started.add(task)
  source?.hurry()
}

// refreshTasks asks for news.
export function refreshTasks(): void {
  source?.hurry()
}

// onTaskFinished calls back when a task ends, onTaskChange whenever one is seen changed; until the component goes.
export function onTaskFinished(listener: Listener): void {
  finishedListeners.add(listener)
  onScopeDispose(() => finishedListeners.delete(listener))
}

export function onTaskChange(listener: Listener): void {
  changeListeners.add(listener)
  onScopeDispose(() => changeListeners.delete(listener))
}

// onObserved calls back when the hypervisors were looked at anew.
export function onObserved(listener: () => void): void {
  observedListeners.add(listener)
  onScopeDispose(() => observedListeners.delete(listener))
}

// taskOfMachine is the task at work on a machine.
export function taskOfMachine(host: number): Task | undefined {
  return activeTasks.value.find((task) => task.hostid === host)
}
