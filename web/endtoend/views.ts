import { expect, it } from 'vitest'
import type { Scene } from './scene'

export function switches(scene: () => Scene): void {
  it('changes language and theme at once and keeps them', async () => {
    const { view } = scene()
    const { page } = view
    await view.visit('vms')
    await page.getByRole('heading', { name: 'Virtual machines' }).waitFor()
    await page.click('.switch.language')
    await page.click('[data-language=zh]')
    await page.getByRole('heading', { name: '虚拟机' }).waitFor()
    expect(await page.evaluate(() => document.documentElement.lang)).toBe('zh-CN')
    await page.click('.switch.theme')
    await page.click('[data-theme=dark]')
    await page.waitForSelector('html.dark')
    await page.reload()
    await page.getByRole('heading', { name: '虚拟机' }).waitFor()
    expect(await page.evaluate(() => document.documentElement.classList.contains('dark'))).toBe(true)
    await page.click('.switch.language')
    await page.click('[data-language=en]')
    await page.click('.switch.theme')
    await page.click('[data-theme=system]')
    await page.getByRole('heading', { name: 'Virtual machines' }).waitFor()
  })
}

export function session(scene: () => Scene): void {
  it('keeps no secret in local storage, asks no other host and ends with the tab', async () => {
    const { demo, view } = scene()
    const { page } = view
    const kept = await page.evaluate(() => ({ local: Object.keys(localStorage).sort(), session: Object.keys(sessionStorage).sort() }))
    expect(kept.local.filter((key) => !['gantry-columns', 'gantry-language', 'gantry-sidebar', 'gantry-theme'].includes(key))).toEqual([])
    expect(kept.session).toEqual(['gantry-name', 'gantry-token'])
    expect([...view.hosts].filter((host) => ![demo.report.api, demo.report.vncproxy].some((known) => new URL(known).host === host))).toEqual([])
    expect(view.problems).toEqual([])
  })
}
