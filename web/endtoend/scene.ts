import { chromium, type Browser } from 'playwright-core'
import { Demo } from './demo'
import { desktop, View } from './look'

// Scene is what all tests share: one demo, one browser, and the operator's window, in which each test goes on where the last ended.
export interface Scene {
  demo: Demo
  browser: Browser
  view: View
}

export async function open(): Promise<Scene> {
  const [demo, browser] = await Promise.all([Demo.start(), chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'] })])
  const view = await View.open(browser, demo, desktop)
  return { demo, browser, view }
}

export async function close(scene: Scene): Promise<void> {
  await scene.browser.close()
  await scene.demo.stop()
}

// The machine that the wizard makes and the later tests work on.
export const machineName = 'first-vm'
export const newPassword = 'operator-word-7'
