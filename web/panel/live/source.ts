import { admin, answer, type Task } from '../api/client'
import { failureOf, type Failure } from '../api/failure'

// A Source tells how the newest tasks stand, again and again. Everything in the panel that shows progress draws from the one
// source that live/tasks.ts starts; a stream of events takes the place of polling by being another Source.
export interface Source {
  // hurry asks for news now: something was just started.
  hurry: () => void
  stop: () => void
}

export interface Deliver {
  tasks: (newest: Task[]) => void
  lost: (failure: Failure) => void
}

export const newestCount = 50
const busyPause = 1000
const quietPause = 5000
const lostPause = 4000

// isFinal tells that nothing will happen to the task any more by itself.
export function isFinal(task: Pick<Task, 'state'>): boolean {
  return task.state === 'done' || task.state === 'undone' || task.state === 'stuck'
}

// poll asks every second while a task is under way, every five seconds otherwise, and not at all while nobody looks.
export function poll(deliver: Deliver): Source {
  let timer: ReturnType<typeof setTimeout> | undefined
  let stopped = false
  let asking = false
  let again = false

  async function ask(): Promise<void> {
    clearTimeout(timer)
    if (stopped || document.hidden) return
    if (asking) {
      again = true
      return
    }
    asking = true
    let pause = quietPause
    try {
      const { data } = await answer(admin.GET('/getTaskByPage', { params: { query: { page: 1, size: newestCount } } }))
      deliver.tasks(data.records)
      if (data.records.some((task) => !isFinal(task))) pause = busyPause
    } catch (thrown) {
      pause = lostPause
      deliver.lost(failureOf(thrown))
    }
    asking = false
    if (again) pause = 0
    again = false
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- stop() may have been called meanwhile
    if (!stopped) timer = setTimeout(() => void ask(), pause)
  }

  const looked = () => {
    if (!document.hidden) void ask()
  }
  document.addEventListener('visibilitychange', looked)
  void ask()
  return {
    hurry: () => void ask(),
    stop() {
      stopped = true
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', looked)
    },
  }
}
