import { expect, it } from 'vitest'
import { machineName, newPassword, type Scene } from './scene'

interface Image { id: number; url: string; fileName: string; checksum: string | null }

// empty takes back what the demo set up, so that the panel finds a fresh installation, and gives what the wizard has to be told.
async function empty({ demo }: Scene): Promise<{ image: Image; gateway: string; mask: number }> {
  const [image] = await demo.records<Image>('selectOsByPage')
  const [pool] = await demo.records<{ id: number; gateway: string; mask: number }>('selectIpPoolList')
  if (image === undefined || pool === undefined) throw new Error('the demo has no image or no pool')
  await demo.call('DELETE', `deleteOs?osId=${String(image.id)}`)
  await expect.poll(async () => demo.records('getTaskByPage?active=true'), { timeout: 20_000 }).toEqual([])
  await demo.call('DELETE', `deleteIpPool/${String(pool.id)}`)
  await demo.call('DELETE', `deleteNodeById?nodeId=${String(demo.report.nodeId)}`)
  return { image, gateway: pool.gateway, mask: pool.mask }
}

export function wizard(scene: () => Scene): void {
  it('leads from an empty installation to the first machine', async () => {
    const { demo, view } = scene()
    const { page } = view
    const { image, gateway, mask } = await empty(scene())
    await view.signIn()
    await page.waitForURL(/\/setup$/)
    const step = (name: string) => page.locator(`[data-step="${name}"]`)
    const password = step('password')
    await password.locator('[name=present-password]').fill(demo.report.adminPassword)
    await password.locator('[name=fresh-password]').fill(newPassword)
    await password.locator('[name=again-password]').fill(newPassword)
    await view.picture('wizard-password')
    await password.locator('#change-password').click()
    await step('node').locator('[name=host]').waitFor()
    await demo.signIn(newPassword)
    await view.picture('wizard-node')

    const lab = new URL(demo.report.lab)
    const [tokenId, secret] = [demo.report.labToken.slice(0, demo.report.labToken.indexOf('=')), demo.report.labToken.slice(demo.report.labToken.indexOf('=') + 1)]
    const node = step('node')
    await node.locator('[name=host]').fill(lab.hostname)
    await node.getByLabel('Port').fill(lab.port)
    await node.locator('[name=tokenId]').fill(tokenId)
    await node.locator('[name=tokenSecret]').fill('wrong')
    await node.locator('#add-node').click()
    // What is wrong is said, and nothing was stored.
    await node.locator('[role=alert] .el-alert, .el-form-item__error').first().waitFor()
    await view.picture('wizard-node-refused')
    expect(await demo.records('selectNodeByPage')).toEqual([])
    await node.locator('[name=tokenSecret]').fill(secret)
    await node.getByRole('button', { name: 'Node daemon' }).click()
    await node.getByLabel('Daemon URL').fill(demo.report.controlled)
    await node.getByLabel('Daemon secret').fill(demo.daemonSecret())
    await node.locator('#add-node').click()

    const pool = step('pool')
    await pool.locator('[name=poolName]').fill('Office')
    await pool.locator('[name=gateway]').fill(gateway)
    await pool.getByLabel('Prefix length').fill(String(mask))
    await view.picture('wizard-pool')
    await pool.locator('#add-pool').click()

    const images = step('image')
    await images.locator('[name=url]').fill(image.url)
    await images.locator('[name=name]').fill('Tiny Linux')
    await images.locator('[name=fileName]').fill(image.fileName)
    await view.picture('wizard-image')
    await images.locator('#add-image').click()
    await images.getByRole('button', { name: 'Download' }).click()

    await step('machine').getByRole('button', { name: 'Create machine' }).click()
    const form = page.locator('#order')
    await form.locator('[name=hostname]').fill(machineName)
    await page.locator('#order').getByLabel('Memory (MiB)').fill('256')
    await form.getByLabel('System disk (GiB)').fill('1')
    await view.picture('wizard-machine')
    await page.click('#order-button')
    // Nothing says that it runs before it does.
    await page.getByText(`${machineName} is being created`).waitFor()
    await page.getByText(`${machineName} is running`).waitFor({ timeout: 60_000 })
    expect(demo.guests()).toHaveLength(1)
    await view.picture('wizard-done')
    await page.getByRole('button', { name: 'Show machine' }).click()
    await page.locator('.machine-status[data-status="0"]').waitFor()
  })
}
