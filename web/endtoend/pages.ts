import { expect, it } from 'vitest'
import { en } from '../panel/texts/en'
import { desktop, phone, View, type Look } from './look'
import type { Scene } from './scene'

const rows = 'main table.grid tbody tr'

// pages are all pages with what shows that they are complete.
async function pages({ demo }: Scene): Promise<[name: string, path: string, ready: string][]> {
  const [machine] = await demo.records<{ vmhost: { id: number } }>('getVmByPage')
  const [pool] = await demo.records<{ id: number }>('selectIpPoolList')
  const [node] = await demo.records<{ id: number }>('selectNodeByPage')
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
    ['machine-console', `${vm}?tab=console`, '.console'],
    ['recycle', 'recycle', '.empty, main table.grid tbody tr'],
    ['nodes', 'nodes', rows],
    ['node', `nodes/${String(node?.id)}`, '.gauges'],
    ['areas', 'areas', '[data-area]'],
    ['consoles', 'consoles', rows],
    ['plans', 'plans', rows],
    ['models', 'models', rows],
    ['admins', 'admins', rows],
    ['audit', 'audit', rows],
    ['settings', 'settings', '.record-save'],
    ['account', 'account', '#factor-begin'],
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

// stock gives pages that would be empty something to show.
export function stock(scene: () => Scene): void {
  it('keeps areas, plans and models', async () => {
    const { view } = scene()
    const { page } = view
    const save = async () => {
      await page.locator('.record-save').last().click()
      await page.locator('.record-save').waitFor({ state: 'detached' })
    }
    const fill = async (name: string, text: string) => page.locator(`.el-drawer [name="${name}"]`).last().fill(text)
    await view.visit('areas')
    await page.click('#add-area')
    await fill('name', 'Germany')
    await save()
    await page.locator('[data-area]').getByRole('button', { name: 'Add below' }).click()
    await fill('name', 'Frankfurt')
    await save()
    await page.locator('.depth-1', { hasText: 'Frankfurt' }).waitFor()
    await page.locator('.choose .el-select').click()
    await page.getByRole('option', { name: 'Germany / Frankfurt' }).click()
    await page.locator('.depth-1 .node').waitFor()

    await view.visit('plans')
    await page.click('#add-plan')
    await page.locator('.el-drawer [name=name]').fill('Small')
    await page.locator('.el-drawer').getByLabel('Memory (MiB)').fill('512')
    await save()
    await page.locator('[data-plan]', { hasText: 'Small' }).waitFor()

    await view.visit('models?tab=cpus')
    await page.click('#add-model')
    await page.locator('.el-drawer [name=name]').fill('AMD EPYC 9654')
    await page.locator('.el-drawer [name=vendor]').fill('AuthenticAMD')
    await save()
    await page.getByRole('tab', { name: 'Groups' }).click()
    await page.click('#add-model')
    await page.locator('.el-drawer [name=info]').last().fill('EPYC')
    await page.locator('.el-drawer').last().getByRole('combobox').first().click()
    await page.getByRole('option', { name: 'AMD EPYC 9654' }).click()
    await page.getByText('-cpu kvm64,model-id=AMD EPYC 9654,vendor=AuthenticAMD').waitFor()
    await view.picture('model-preview')
    await save()
    await page.getByRole('row', { name: /EPYC/ }).first().waitFor()
  })
}

// The other looks show the same elements in other words.
const audited = ['light', 'dark', 'phone']

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
      if (audited.includes(name)) await view.accessible(page)
    }
    expect(view.problems).toEqual([])
    await view.close()
  }, 120_000)
}
