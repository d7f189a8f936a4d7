import type { Task } from '../api/client'
import type { Failure } from '../api/failure'

// A Source tells how the newest tasks stand, again and again. Everything in the panel that shows progress draws from the one
// source that live/tasks.ts starts.
export interface Source {
  // hurry asks for news now: something was just started.
  hurry: () => void
  stop: () => void
}

export interface Deliver {
  tasks: (newest: Task[]) => void
  // observed: the hypervisors were looked at anew.
  observed: () => void
  lost: (failure: Failure) => void
}

export const newestCount = 50

// isFinal tells that nothing will happen to the task any more by itself.
export function isFinal(task: Pick<Task, 'state'>): boolean {
  return task.state === 'done' || task.state === 'undone' || task.state === 'stuck'
}
