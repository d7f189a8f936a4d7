import { ElNotification } from 'element-plus'
import { failureOf } from '../api/failure'
import { translate } from '../texts'

export function tellGood(title: string, message = ''): void {
  ElNotification({ position: 'bottom-left', type: 'success', title, message, duration: 4000 })
}

export function tellWarnings(warnings: string[]): void {
  for (const message of warnings) ElNotification({ position: 'bottom-left', type: 'warning', title: translate('common.note'), message, duration: 10_000 })
}

// tellFailure stays until it is closed: nobody should miss why something did not happen.
export function tellFailure(thrown: unknown, title = translate('failure.title')): void {
  const failure = failureOf(thrown)
  if (failure.kind === 'signed-out') return
  ElNotification({ position: 'bottom-left', type: 'error', title, message: failure.message, duration: 0 })
}
