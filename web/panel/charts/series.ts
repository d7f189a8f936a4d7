// Line is one curve: times in milliseconds, and gaps where nothing was measured.
export interface Line {
  name: string
  points: [number, number | null][]
}

export type Sample = Record<string, number | null>

// line takes one value of each sample; time is in seconds there. What was not measured stays a gap.
export function line(name: string, samples: readonly Sample[], value: (sample: Sample) => number | null | undefined): Line {
  const points: [number, number | null][] = []
  for (const sample of samples) {
    const time = sample['time']
    if (typeof time !== 'number') continue
    const found = value(sample)
    points.push([time * 1000, typeof found === 'number' && Number.isFinite(found) ? found : null])
  }
  points.sort((a, b) => a[0] - b[0])
  return { name, points }
}

export function hasValues(lines: readonly Line[]): boolean {
  return lines.some((each) => each.points.some((point) => point[1] !== null))
}

// The spans of time that hypervisors keep histories of.
export const rangeNames = ['hour', 'day', 'week', 'month', 'year'] as const
export type Range = (typeof rangeNames)[number]
