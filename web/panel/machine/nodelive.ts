// What a node says of itself, as far as it does: drivers differ.
export interface NodeLive {
  cpu: number
  cpus: number
  memoryUsed: number
  memoryTotal: number
  rootUsed: number
  rootTotal: number
  uptime: number
  loadAverage: string
  kernel: string
  model: string
}

type Loose = Record<string, unknown>

const part = (from: Loose, name: string): Loose => (typeof from[name] === 'object' && from[name] !== null ? (from[name] as Loose) : {})
const figure = (from: Loose, name: string): number => (typeof from[name] === 'number' ? from[name] : 0)
const word = (from: Loose, name: string): string => (typeof from[name] === 'string' ? from[name] : '')

// nodeLiveOf reads the free-form object of getNodeInfoByOne. The server may wrap it in data.
export function nodeLiveOf(answer: Loose): NodeLive {
  const told = typeof answer['data'] === 'object' && answer['data'] !== null ? part(answer, 'data') : answer
  const [cpuinfo, memory, root] = [part(told, 'cpuinfo'), part(told, 'memory'), part(told, 'rootfs')]
  const averages: unknown = told['loadavg']
  return {
    cpu: figure(told, 'cpu'), cpus: figure(cpuinfo, 'cpus'), memoryUsed: figure(memory, 'used'), memoryTotal: figure(memory, 'total'), rootUsed: figure(root, 'used'),
    rootTotal: figure(root, 'total'), uptime: figure(told, 'uptime'), loadAverage: Array.isArray(averages) ? averages.map(String).join(' ') : '', kernel: word(told, 'kversion'), model: word(cpuinfo, 'model'),
  }
}
