import type { Failure } from '../api/failure'

// fieldError is what a form shows below the field that the server refused: "dataDisk.2.size" belongs to dataDisk.
export function fieldError(failure: Failure | undefined, ...names: string[]): string {
  if (failure === undefined || failure.field === '') return ''
  const whole = failure.field.toLowerCase()
  const [first] = whole.split('.')
  return names.some((name) => name.toLowerCase() === whole || name.toLowerCase() === first) ? failure.text : ''
}

// otherError is what no shown field can say.
export function otherError(failure: Failure | undefined, shown: string[]): string {
  if (failure === undefined || failure.kind === 'signed-out' || fieldError(failure, ...shown) !== '') return ''
  return failure.message
}
