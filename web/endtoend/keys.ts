import { expect, it } from 'vitest'
import type { Scene } from './scene'

// works tells whether the billing API takes a key.
async function works({ demo }: Scene, appid: string, secret: string): Promise<boolean> {
  const response = await fetch(`${demo.report.api}/api/v1/pve/getVmByPage?page=1&size=1`, { headers: { Authorization: `Basic ${Buffer.from(`${appid}:${secret}`).toString('base64')}` } })
  return ((await response.json()) as { code: number }).code === 20000
}

export function keys(scene: () => Scene): void {
  it('makes an API key whose secret is shown once, stops it and ends it', async () => {
    const { view } = scene()
    const { page } = view
    await view.visit('keys')
    await page.click('#create-key')
    await page.fill('[name=info]', 'WHMCS')
    await page.click('#key-make')
    const appid = (await page.locator('#key-appid .value').innerText()).trim()
    const secret = (await page.locator('#key-secret .value').innerText()).trim()
    await view.picture('key-once')
    expect(await works(scene(), appid, secret)).toBe(true)
    await page.click('#key-kept')
    await page.locator('#key-secret').waitFor({ state: 'detached' })
    expect(await page.evaluate(() => document.documentElement.innerHTML)).not.toContain(secret)

    const row = page.locator('tr', { hasText: 'WHMCS' })
    await row.getByRole('button', { name: 'Disable' }).click()
    await row.getByRole('button', { name: 'Enable' }).waitFor()
    expect(await works(scene(), appid, secret)).toBe(false)
    await row.getByRole('button', { name: 'Enable' }).click()
    await row.getByRole('button', { name: 'Disable' }).waitFor()
    expect(await works(scene(), appid, secret)).toBe(true)
    await row.getByRole('button', { name: 'Delete' }).click()
    await page.fill('#danger-name', appid)
    await page.click('#danger-confirm')
    await row.waitFor({ state: 'detached' })
    expect(await works(scene(), appid, secret)).toBe(false)
  })
}
