import { locale } from './texts'

const tag = () => (locale.value === 'zh' ? 'zh-CN' : 'en-GB')

// bytes writes a size in binary units with three digits at most.
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let size = Math.max(0, count)
  let unit = 0
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024
    unit++
  }
  return `${size >= 100 || unit === 0 ? Math.round(size) : Math.round(size * 10) / 10} ${units[unit] ?? ''}`
}

// megabytes writes memory as orders count it.
export function megabytes(count: number): string {
  return bytes(count * 1024 * 1024)
}

// rate writes bytes a second.
export function rate(perSecond: number): string {
  return `${bytes(perSecond)}/s`
}

export function percent(share: number): string {
  return `${Math.round(Math.min(1, Math.max(0, share)) * 100)} %`
}

// duration writes seconds in the two largest units.
export function duration(seconds: number): string {
  const zh = locale.value === 'zh'
  const units: [number, string][] = [
    [86400, zh ? ' 天' : ' d'],
    [3600, zh ? ' 小时' : ' h'],
    [60, zh ? ' 分' : ' min'],
    [1, zh ? ' 秒' : ' s'],
  ]
  let rest = Math.max(0, Math.round(seconds))
  const parts: string[] = []
  for (const [size, name] of units) {
    if (parts.length === 2) break
    const count = Math.floor(rest / size)
    if (count === 0 && (parts.length > 0 || size > 1)) {
      if (parts.length > 0) break
      continue
    }
    parts.push(`${count}${name}`)
    rest -= count * size
  }
  return parts.join(' ')
}

// moment writes a time of the wire (milliseconds) with date and clock.
export function moment(milliseconds: number): string {
  return new Intl.DateTimeFormat(tag(), {
    year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit',
  }).format(milliseconds)
}

export function day(milliseconds: number): string {
  return new Intl.DateTimeFormat(tag(), { year: 'numeric', month: '2-digit', day: '2-digit' }).format(milliseconds)
}

// dayInput and endOfDay are for inputs of days: what is due on a day is due at its end, by the clock of who looks.
export function dayInput(milliseconds: number): string {
  const date = new Date(milliseconds)
  return [String(date.getFullYear()).padStart(4, '0'), String(date.getMonth() + 1).padStart(2, '0'), String(date.getDate()).padStart(2, '0')].join('-')
}

export function endOfDay(text: string): number {
  return new Date(`${text}T23:59:59`).getTime()
}

// shortDay is the weekday and the day of the month.
export function shortDay(milliseconds: number): string {
  return new Intl.DateTimeFormat(tag(), { weekday: 'short', day: 'numeric' }).format(milliseconds)
}

// ago writes how long ago a moment is.
export function ago(milliseconds: number, now = Date.now()): string {
  const seconds = Math.round((milliseconds - now) / 1000)
  const relative = new Intl.RelativeTimeFormat(tag(), { numeric: 'auto', style: 'short' })
  for (const [unit, size] of [['day', 86400], ['hour', 3600], ['minute', 60]] as const) {
    if (Math.abs(seconds) >= size) return relative.format(Math.trunc(seconds / size), unit)
  }
  return relative.format(Math.abs(seconds) < 5 ? 0 : seconds, 'second')
}

export function count(value: number): string {
  return new Intl.NumberFormat(tag()).format(value)
}
