import { beforeEach, describe, expect, it } from 'vitest'
import { failureOf, Failure, refusal } from '../api/failure'
import type { Task } from '../api/client'
import { hasValues, line } from '../charts/series'
import { fieldError, otherError } from '../forms/errors'
import { ago, bytes, duration, percent } from '../format'
import { filled, missingFields } from '../forms/fields'
import { fieldsOf, requestOf, signInOf } from '../forms/driver'
import { isFinal } from '../live/source'
import { merged, messages } from '../live/stream'
import { take, tasks, onTaskFinished } from '../live/tasks'
import { capacityOf } from '../machine/capacity'
import { treeOf } from '../machine/choices'
import { nextStep } from '../machine/overview'
import { emptyOrder, orderOf } from '../machine/order'
import { offered, statusOf } from '../machine/status'
import { setLanguage } from '../texts'
import { effectScope } from 'vue'

beforeEach(() => {
  setLanguage('en')
})

describe('failures', () => {
  it.each([
    [4000002, 'memory: must be between 16 and 64', 'refused', 'memory', 'must be between 16 and 64'],
    [4000002, 'dataDisk.2.size: 不能为空', 'refused', 'dataDisk.2.size', '不能为空'],
    [20402, 'wrong username or password', 'refused', '', 'wrong username or password'],
    [20400, 'the node said: no', 'refused', '', 'the node said: no'],
    [501002, 'API鉴权失败', 'signed-out', '', 'API鉴权失败'],
  ])('%i %s', (code, message, kind, field, text) => {
    expect(refusal(code, message)).toMatchObject({ kind, field, text, code })
  })

  it('are shown at their field, and nowhere twice', () => {
    const failure = refusal(4000002, 'dataDisk.2.size: is required')
    expect(fieldError(failure, 'dataDisk')).toBe('is required')
    expect(fieldError(failure, 'size')).toBe('')
    expect(otherError(failure, ['dataDisk'])).toBe('')
    expect(otherError(failure, ['memory'])).toBe('dataDisk.2.size: is required')
    expect(otherError(undefined, [])).toBe('')
  })

  it('keep what was thrown', () => {
    expect(failureOf(new Error('x'))).toBeInstanceOf(Failure)
    expect(failureOf('y').text).toBe('y')
  })
})

describe('figures', () => {
  it.each([[0, '0 B'], [1023, '1023 B'], [1536, '1.5 KiB'], [1 << 30, '1 GiB'], [150 * 2 ** 20, '150 MiB'], [-5, '0 B']])('bytes %i', (count, text) => {
    expect(bytes(count)).toBe(text)
  })
  it.each([[0, '0 s'], [59, '59 s'], [61, '1 min 1 s'], [3600, '1 h'], [90061, '1 d 1 h'], [86460, '1 d']])('duration %i', (seconds, text) => {
    expect(duration(seconds)).toBe(text)
  })
  it('shares stay between 0 and 100 %', () => {
    expect([percent(-1), percent(0.256), percent(7)]).toEqual(['0 %', '26 %', '100 %'])
  })
  it('moments are told in the language of the panel', () => {
    expect(ago(0, 7_200_000)).toBe('2 hr ago')
    setLanguage('zh')
    expect(ago(0, 7_200_000)).toBe('2小时前')
  })
})

describe('orders', () => {
  it('leave to the server what nobody chose', () => {
    expect(orderOf({ ...emptyOrder(), nodeid: 1, os: 2 })).toEqual({ nodeid: 1, os: '2', cores: 1, sockets: 1, memory: 1024, ipv4num: 1 })
  })
  it('number disks and addresses from 1', () => {
    const order = orderOf({ ...emptyOrder(), nodeid: 1, os: 2, address: '192.0.2.7', dataDisks: [{ size: 5 }, { size: 9 }], hostname: ' web ' })
    expect(order).toMatchObject({ ipConfig: { '1': 'ip=192.0.2.7' }, dataDisk: { '1': 5, '2': 9 }, hostname: 'web' })
  })
})

const task = (id: number, state: string, progress = 0): Task => ({ id, state, progress, updateTime: id, hostid: 1 }) as Task

describe('tasks', () => {
  it('are told finished once, and never those that had ended before', () => {
    const told: number[] = []
    const scope = effectScope()
    scope.run(() => {
      onTaskFinished((ended) => told.push(ended.id))
    })
    take([task(1, 'done'), task(2, 'running')])
    take([task(1, 'done'), task(2, 'waiting', 50)])
    expect(told).toEqual([])
    take([task(3, 'undone'), task(2, 'done', 100), task(1, 'done')])
    take([task(3, 'undone'), task(2, 'done', 100), task(1, 'done')])
    expect(told).toEqual([3, 2])
    expect(tasks.value.length).toBe(3)
    scope.stop()
    take([task(4, 'done')])
    expect(told).toEqual([3, 2])
  })
  it('do not go back when an older answer comes late', () => {
    take([{ ...task(9, 'undone'), updateTime: 20 }])
    take([{ ...task(9, 'running', 73), updateTime: 19 }])
    expect(tasks.value[0]?.state).toBe('undone')
    take([{ ...task(9, 'ready'), updateTime: 21 }])
    expect(tasks.value[0]?.state).toBe('ready')
  })
  it.each([['ready', false], ['running', false], ['waiting', false], ['done', true], ['undone', true], ['stuck', true]])('%s final: %s', (state, final) => {
    expect(isFinal({ state })).toBe(final)
  })
})

describe('machines', () => {
  it('offer only buttons that make sense', () => {
    expect(offered(0)).not.toContain('start')
    expect(offered(1)).toEqual(['start'])
    expect(offered(6)).toEqual([])
  })
  it('with a state that a newer server has are no surprise', () => {
    expect(statusOf(99)).toEqual({ word: 'unknown', tone: 'warn' })
  })
})

describe('first steps', () => {
  const node = { id: 1 } as never
  const pool = { available: 5, used: 0 } as never
  const image = { nodeStatus: { '0': { nodeId: 1, status: 2 } } } as never
  const none = { initialPassword: true, nodes: [], pools: [], images: [], sum: { machines: { total: 0 } } }
  const steps: [string | undefined, Parameters<typeof nextStep>[0]][] = [
    ['password', none],
    ['node', { ...none, initialPassword: false }],
    ['pool', { ...none, initialPassword: false, nodes: [node] }],
    ['image', { ...none, initialPassword: false, nodes: [node], pools: [pool] }],
    ['machine', { ...none, initialPassword: false, nodes: [node], pools: [pool], images: [image] }],
    [undefined, { initialPassword: false, nodes: [node], pools: [pool], images: [image], sum: { machines: { total: 1 } } }],
    ['password', { initialPassword: true, nodes: [node], pools: [pool], images: [image], sum: { machines: { total: 1 } } }],
  ]
  it.each(steps)('come one after another: %s', (step, found) => {
    expect(nextStep(found)).toBe(step)
  })
})

describe('the event stream', () => {
  it('is cut into events, and what is not complete waits', () => {
    const cut = messages('event: task\ndata: {"id":1}\n\nevent: alive\ndata: {}\n\nevent: ta')
    expect(cut.complete).toEqual([{ name: 'task', data: '{"id":1}' }, { name: 'alive', data: '{}' }])
    expect(messages(`${cut.rest}sk\ndata: 2\n\n`).complete).toEqual([{ name: 'task', data: '2' }])
  })
  it('puts a task that changed into the list, the newest first', () => {
    const known = [task(3, 'running'), task(1, 'done')]
    expect(merged(known, task(2, 'ready')).map((each) => each.id)).toEqual([3, 2, 1])
    expect(merged(known, task(3, 'done')).map((each) => each.state)).toEqual(['done', 'done'])
  })
})

describe('the form of a hypervisor', () => {
  const option = (name: string, type = 'text', required = false) => ({ name, type, required, title: name, help: '', choices: [], default: '' })
  const pve = { name: 'pve', title: 'PVE', options: [option('host', 'text', true), option('port', 'number'), option('tokenId'), option('tokenSecret', 'secret'), option('username'), option('password', 'secret'), option('realm'), option('nodeName')] }
  const other = { name: 'libvirt', title: 'libvirt', options: [option('transport', 'choice', true), option('privateKey', 'secret')] }
  it('asks for a token or for a password', () => {
    expect(signInOf(pve)).toBe('choice')
    expect(signInOf(other)).toBeUndefined()
    expect(fieldsOf(pve, 'token').map((field) => field.name)).toEqual(['host', 'port', 'tokenId', 'tokenSecret'])
    expect(missingFields(fieldsOf(pve, 'token'), { host: 'a', tokenId: 'x' }).map((field) => field.name)).toEqual(['tokenSecret'])
  })
  it('sends what the call does not name as options of the driver', () => {
    const fields = fieldsOf(other, undefined)
    expect(fields[1]?.type).toBe('lines')
    expect(requestOf('libvirt', fields, { transport: 'ssh', privateKey: 'a\nb', name: 'here', antiSpoofing: true })).toEqual({ nodeType: 'libvirt', name: 'here', options: { transport: 'ssh', privateKey: 'a\nb' } })
    expect(filled(fieldsOf(pve, 'token'), { host: ' a ', tokenSecret: ' s ', port: undefined })).toEqual({ host: 'a', tokenSecret: ' s ' })
  })
})

describe('areas', () => {
  it('stand below their parents, and at the top where that is unknown', () => {
    const area = (id: number, name: string, parent: number) => ({ id, name, parent, realm: 0 })
    expect(treeOf([area(2, 'Berlin', 1), area(1, 'Germany', 0), area(3, 'Rack 1', 2), area(4, 'Lost', 9)]).map((row) => `${'-'.repeat(row.depth)}${row.path}`))
      .toEqual(['Germany', '-Germany / Berlin', '--Germany / Berlin / Rack 1', 'Lost'])
  })
})

describe('capacity', () => {
  it('is unknown where the node has told nothing', () => {
    const use = { cpus: 8, promisedCpus: 4, memory: 0, promisedMemory: 1, storage: 100, storageFree: 25 } as never
    expect(capacityOf(use)).toEqual({ cpu: 0.5, memory: undefined, storage: 0.75 })
  })
})

describe('charts', () => {
  it('keep gaps and put times in order', () => {
    const curve = line('cpu', [{ time: 20, cpu: 0.5 }, { time: 10, cpu: null }, { cpu: 1 }], (sample) => sample['cpu'])
    expect(curve.points).toEqual([[10_000, null], [20_000, 0.5]])
    expect(hasValues([curve])).toBe(true)
    expect(hasValues([line('x', [{ time: 1 }], () => undefined)])).toBe(false)
  })
})
