import type { paths } from '../api/schema'
import { endOfDay } from '../format'

export type Order = NonNullable<paths['/createVm']['post']['requestBody']>['content']['application/json']

// OrderForm is what the form edits; '' and undefined leave a value to the server's default.
export interface OrderForm {
  nodeid: number | undefined
  os: number | undefined
  hostname: string
  cores: number
  sockets: number
  memory: number
  systemDiskSize: number | undefined
  storage: string
  bridge: string
  address: string
  ipv4num: number
  ipv6num: number
  bandwidth: number
  username: string
  password: string
  sshKeys: string
  cpu: string
  nested: boolean
  onBoot: boolean
  dataDisks: { size: number }[]
  mbpsRd: number
  mbpsWr: number
  expires: string
}

export function emptyOrder(): OrderForm {
  return {
    nodeid: undefined, os: undefined, hostname: '', cores: 1, sockets: 1, memory: 1024, systemDiskSize: undefined, storage: '', bridge: '',
    address: '', ipv4num: 1, ipv6num: 0, bandwidth: 0, username: '', password: '', sshKeys: '', cpu: '', nested: false, onBoot: false,
    dataDisks: [], mbpsRd: 0, mbpsWr: 0, expires: '',
  }
}

// orderOf makes the call's body. nodeid and os must be chosen.
export function orderOf(form: OrderForm): Order {
  const order: Order = { nodeid: form.nodeid ?? 0, os: String(form.os ?? ''), cores: form.cores, sockets: form.sockets, memory: form.memory }
  for (const name of ['hostname', 'storage', 'bridge', 'username', 'password', 'sshKeys', 'cpu'] as const) {
    const text = name === 'password' ? form[name] : form[name].trim()
    if (text !== '') order[name] = text
  }
  if (form.systemDiskSize !== undefined) order.systemDiskSize = form.systemDiskSize
  // A chosen address counts as the first of those wanted.
  if (form.address !== '') order.ipConfig = { '1': `ip=${form.address}` }
  order.ipv4num = form.ipv4num
  if (form.ipv6num > 0) order.ipv6num = form.ipv6num
  if (form.bandwidth > 0) order.bandwidth = form.bandwidth
  if (form.mbpsRd > 0) order.mbpsRd = form.mbpsRd
  if (form.mbpsWr > 0) order.mbpsWr = form.mbpsWr
  if (form.nested) order.nested = true
  if (form.onBoot) order.onBoot = true
  if (form.dataDisks.length > 0) order.dataDisk = Object.fromEntries(form.dataDisks.map((disk, index) => [String(index + 1), disk.size]))
  if (form.expires !== '') order.expirationTime = endOfDay(form.expires)
  return order
}
