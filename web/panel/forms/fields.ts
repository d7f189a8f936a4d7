// Field is one input of a form that is drawn from a description: a driver's options, or a record of the API.
export interface Field {
  name: string
  label: string
  type: 'text' | 'number' | 'secret' | 'choice' | 'bool' | 'lines'
  required?: boolean
  hint?: string
  placeholder?: string
  choices?: { value: string | number; label: string }[]
  // min and max of numbers, or the most characters of texts.
  min?: number
  max?: number
  step?: number
  // whole takes the form's whole width.
  whole?: boolean
}

export type Values = Record<string, string | number | boolean | undefined>

// missingFields are the required ones that are empty.
export function missingFields(fields: readonly Field[], values: Values): Field[] {
  return fields.filter((field) => field.required === true && (values[field.name] === undefined || String(values[field.name]).trim() === ''))
}

// filled leaves out what nobody filled in, and trims texts; secrets stay as they were typed.
export function filled(fields: readonly Field[], values: Values): Values {
  const kept: Values = {}
  for (const field of fields) {
    const value = values[field.name]
    const tidy = typeof value === 'string' && field.type !== 'secret' ? value.trim() : value
    if (tidy !== undefined && tidy !== '') kept[field.name] = tidy
  }
  return kept
}

// text, number and flag read a value of a form whose field has that type.
export function text(values: Values, name: string): string {
  const value = values[name]
  return value === undefined ? '' : String(value)
}

export function number(values: Values, name: string): number | undefined {
  const value = values[name]
  return typeof value === 'number' ? value : undefined
}

export function flag(values: Values, name: string): boolean {
  return values[name] === true
}
