import type { Frame, Page } from 'playwright-core'
import { expect, it } from 'vitest'
import { machineName, type Scene } from './scene'

// lit counts the points of a console's screen that are not black.
async function lit(console: Frame | Page): Promise<number> {
  return console.evaluate(() => {
    const canvas = document.querySelector('canvas')
    const context = canvas?.getContext('2d')
    if (canvas === null || context === null || context === undefined || canvas.width === 0) return 0
    const points = context.getImageData(0, 0, canvas.width, canvas.height).data
    let count = 0
    for (let i = 0; i < points.length; i += 4) if ((points[i] ?? 0) + (points[i + 1] ?? 0) + (points[i + 2] ?? 0) > 90) count++
    return count
  })
}

async function host({ demo }: Scene): Promise<number> {
  const rows = await demo.records<{ vmhost: { id: number; name: string } }>('getVmByPage')
  const found = rows.find((row) => row.vmhost.name === machineName)
  if (found === undefined) throw new Error(`${machineName} is not in the list`)
  return found.vmhost.id
}

export function consoles(scene: () => Scene): void {
  it('shows the screen of the guest within the page and in a window of its own', async () => {
    const { view } = scene()
    const { page } = view
    await page.getByRole('tab', { name: 'Console' }).click()
    const element = await page.waitForSelector('iframe')
    const frame = await element.contentFrame()
    if (frame === null) throw new Error('the console has no frame')
    await frame.waitForSelector('body[data-state=connected]', { state: 'attached' })
    await expect.poll(() => lit(frame), { timeout: 60_000 }).toBeGreaterThan(500)
    await view.picture('console-in-page')

    const opened = view.context.waitForEvent('page')
    await page.click('#console-window')
    const own = await opened
    await own.waitForSelector('body[data-state=connected]', { state: 'attached' })
    await expect.poll(() => lit(own), { timeout: 30_000 }).toBeGreaterThan(500)
    await own.screenshot({ path: view.file('console-own-window') })
    expect(await own.evaluate(() => window.opener as unknown)).toBeNull()
    await own.close()
  })
}

export function failingCreate(scene: () => Scene): void {
  it('shows why a create failed and leaves nothing behind', async () => {
    const { demo, view } = scene()
    const { page } = view
    const before = { guests: demo.guests(), used: await demo.records<{ used: number }>('selectIpPoolList').then((pools) => pools[0]?.used) }
    await demo.fault('task', { type: 'qmstart', error: 'start failed: QEMU exited with code 1' })
    await view.visit('vms?create=yes')
    await page.locator('#order [name=hostname]').fill('doomed-vm')
    await page.locator('#order').getByLabel('Memory (MiB)').fill('256')
    await page.locator('#order').getByLabel('System disk (GiB)').fill('1')
    await page.click('#order-button')
    await page.getByText('doomed-vm is being created').waitFor()
    const drawer = page.locator('.el-drawer')
    await drawer.getByText('QEMU exited with code 1').waitFor({ timeout: 90_000 })
    await drawer.getByText('Everything that it made or reserved was put back').waitFor()
    await view.picture('create-failed')
    await demo.clearFaults()
    await drawer.getByRole('button', { name: 'Close', exact: true }).last().click()
    await page.locator('main').getByText('doomed-vm').waitFor({ state: 'detached' })
    expect(demo.guests()).toEqual(before.guests)
    expect((await demo.records<{ used: number }>('selectIpPoolList'))[0]?.used).toBe(before.used)

    await view.visit('tasks?state=undone')
    await page.locator('[data-state=undone]').first().getByRole('button', { name: /Create/ }).click()
    await page.locator('.el-drawer .steps li').first().waitFor()
    await view.settled()
    await view.picture('task-undone')
    await page.keyboard.press('Escape')
  })
}

export function reinstall(scene: () => Scene): void {
  it('reinstalls a machine after its name was typed', async () => {
    const { view } = scene()
    const { page } = view
    const id = await host(scene())
    await view.visit(`vms/${String(id)}`)
    await page.click('#reinstall')
    const confirm = page.locator('#reinstall-confirm')
    await page.fill('#reinstall-name', 'another-vm')
    expect(await confirm.isDisabled()).toBe(true)
    await page.fill('#reinstall-name', machineName)
    await view.picture('reinstall')
    await confirm.click()
    await page.locator('.working').waitFor()
    await view.picture('reinstalling')
    await page.getByText(/Reinstall #\d+ is done/).waitFor({ timeout: 90_000 })
    await page.locator('.machine-status[data-status="0"]').waitFor()
  })
}
