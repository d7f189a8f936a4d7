import { admin, answer, type Machine } from '../api/client'
import { begun } from '../live/tasks'
import { tellWarnings } from '../live/notices'
import type { PowerAction } from './status'

// What a machine looks like at the hypervisor, as far as it said.
export interface Live {
  cpu: number
  mem: number
  maxmem: number
  uptime: number
  netin: number
  netout: number
  diskread: number
  diskwrite: number
}

// liveOf reads "current": a free-form object, because it is the hypervisor's own.
export function liveOf(machine: Machine): Live | undefined {
  const wrapped: unknown = machine.current?.['data']
  if (typeof wrapped !== 'object' || wrapped === null) return undefined
  const values = wrapped as Record<string, unknown>
  const number = (name: string) => (typeof values[name] === 'number' ? values[name] : 0)
  return {
    cpu: number('cpu'), mem: number('mem'), maxmem: number('maxmem'), uptime: number('uptime'),
    netin: number('netin'), netout: number('netout'), diskread: number('diskread'), diskwrite: number('diskwrite'),
  }
}

export function cpuCount(host: Machine['vmhost']): number {
  return Math.max(1, host.sockets) * Math.max(1, host.cores) * Math.max(1, host.threads)
}

export async function power(host: number, action: PowerAction): Promise<void> {
  const reply = await answer(admin.PUT('/power/{hostId}/{action}', { params: { path: { hostId: host, action } } }))
  begun(reply.task)
  tellWarnings(reply.warnings)
}

export async function remove(host: number): Promise<void> {
  const reply = await answer(admin.DELETE('/delete/{hostId}', { params: { path: { hostId: host } } }))
  begun(reply.data.taskId)
}

// consoleLinks asks for one-time links: one a console proxy, by its name.
export async function consoleLinks(host: number, kind: string): Promise<[string, string][]> {
  const { data } = await answer(admin.GET('/{node}/getVnc', { params: { path: { node: kind }, query: { hostId: host } } }))
  return Object.entries(data.records[0] ?? {})
}
