import { expect, it } from 'vitest'
import { en } from '../panel/texts/en'
import { desktop, phone, View, type Look } from './look'
import type { Scene } from './scene'

const rows = 'main table.grid tbody tr'

// pages are all pages with what shows that they are complete.
async function pages({ demo }: Scene): Promise<[name: string, path: string, ready: string][]> {
  const [machine] = await demo.records<{ vmhost: { id: number } }>('getVmByPage')
  const [pool] = await demo.records<{ id: number }>('selectIpPoolList')
  const vm = `vms/${String(machine?.vmhost.id)}`
  return [
    ['dashboard', '', '.figure strong'],
    ['setup', 'setup', '[data-step]'],
    ['machines', 'vms', rows],
    ['machines-none-found', 'vms?search=nothing-like-this', '.empty'],
    ['create', 'vms?create=yes', '#order'],
    ['machine', vm, '.machine-status'],
    ['machine-tasks', `${vm}?tab=tasks`, '[data-task]'],
    ['tasks', 'tasks', rows],
    ['nodes', 'nodes', rows],
    ['pools', 'pools', rows],
    ['pool', `pools/${String(pool?.id)}`, rows],
    ['images', 'images', '[data-copy]'],
    ['keys', 'keys', rows],
    ['absent', 'no-such-page', '.empty'],
  ]
}

const looks: [string, Look][] = [
  ['light', desktop],
  ['dark', { ...desktop, theme: 'dark' }],
  ['chinese', { ...desktop, language: 'zh-CN' }],
  ['phone', phone],
  ['phone-dark', { ...phone, language: 'zh-CN', theme: 'dark' }],
]

export function everyPage(scene: () => Scene): void {
  it.each(looks)('shows every page well: %s', async (name, look) => {
    const view = await View.open(scene().browser, scene().demo, look)
    await view.page.waitForSelector('#password')
    await view.settled()
    await view.picture(`login-${name}`)
    await view.accessible('login')
    await view.signIn()
    for (const [page, path, ready] of await pages(scene())) {
      await view.visit(path)
      await view.page.waitForSelector(ready)
      await view.settled()
      await view.picture(`${page}-${name}`)
      await view.fits(page)
      await view.translated(page, Object.keys(en))
      await view.accessible(page)
    }
    expect(view.problems).toEqual([])
    await view.close()
  }, 120_000)
}
