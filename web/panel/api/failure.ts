export type FailureKind = 'unreachable' | 'signed-out' | 'refused' | 'broken'

// Failure is what a call ended with instead of an answer. text is for people, in their language; field names the request's field
// that was refused, '' where it was none.
export class Failure extends Error {
  constructor(
    readonly kind: FailureKind,
    readonly text: string,
    readonly field = '',
    readonly code = 0,
  ) {
    super(field === '' ? text : `${field}: ${text}`)
    this.name = 'Failure'
  }
}

// Codes of the envelope, see route.CodeSuccess and route.CodeUnauthenticated.
export const codeSuccess = 20000
const codeSignedOut = 501002

// refusal reads an envelope that is no success. The server writes a refused field before its message, as in "memory: must be …".
export function refusal(code: number, message: string): Failure {
  if (code === codeSignedOut) return new Failure('signed-out', message, '', code)
  const named = /^([A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*): (.+)$/s.exec(message)
  if (named?.[1] !== undefined && named[2] !== undefined) return new Failure('refused', named[2], named[1], code)
  return new Failure('refused', message, '', code)
}

// failureOf makes a Failure of whatever was thrown.
export function failureOf(thrown: unknown): Failure {
  if (thrown instanceof Failure) return thrown
  return new Failure('broken', thrown instanceof Error ? thrown.message : String(thrown))
}
