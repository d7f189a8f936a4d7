import { beforeEach, describe, expect, it } from 'vitest'
import { failureOf, Failure, refusal } from '../api/failure'
import type { Task } from '../api/client'
import { hasValues, line } from '../charts/series'
import { fieldError, otherError } from '../forms/errors'
import { ago, bytes, duration, percent } from '../format'
import { isFinal } from '../live/source'
import { take, tasks, onTaskFinished } from '../live/tasks'
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
  const none = { nodes: [], pools: [], images: [], machines: { total: 0, running: 0, stopped: 0, failed: 0 } }
  it('come one after another', () => {
    const node = { id: 1 } as never
    const pool = { available: 5, used: 0 } as never
    const image = { nodeStatus: { '0': { nodeId: 1, status: 2 } } } as never
    expect(nextStep(none)).toBe('node')
    expect(nextStep({ ...none, nodes: [node] })).toBe('pool')
    expect(nextStep({ ...none, nodes: [node], pools: [pool] })).toBe('image')
    expect(nextStep({ ...none, nodes: [node], pools: [pool], images: [image] })).toBe('machine')
    expect(nextStep({ nodes: [node], pools: [pool], images: [image], machines: { ...none.machines, total: 1 } })).toBeUndefined()
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
