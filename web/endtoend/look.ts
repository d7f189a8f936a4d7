import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { expect } from 'vitest'
import type { Demo } from './demo'

// Look is how a person looks at the panel.
export interface Look {
  width: number
  height: number
  language: 'en-US' | 'zh-CN'
  theme: 'light' | 'dark'
}

export const desktop: Look = { width: 1280, height: 800, language: 'en-US', theme: 'light' }
export const phone: Look = { width: 390, height: 844, language: 'en-US', theme: 'light' }

const artifacts = process.env['GANTRY_ARTIFACTS'] ?? join(import.meta.dirname, '../../artifacts/panel')
const axe = join(import.meta.dirname, '../node_modules/axe-core/axe.min.js')
const patience = 20_000

// View is a window on the panel that notes what a developer would see in red, and what other hosts were asked.
export class View {
  readonly problems: string[] = []
  readonly hosts = new Set<string>()

  private constructor(
    readonly demo: Demo,
    readonly context: BrowserContext,
    readonly page: Page,
  ) {}

  static async open(browser: Browser, demo: Demo, look: Look): Promise<View> {
    const context = await browser.newContext({
      viewport: { width: look.width, height: look.height }, locale: look.language, colorScheme: look.theme, reducedMotion: 'reduce',
      ...(look.width < 600 ? { hasTouch: true, isMobile: true } : {}),
    })
    context.setDefaultTimeout(patience)
    const view = new View(demo, context, await context.newPage())
    view.page.on('pageerror', (error) => view.problems.push(String(error)))
    view.page.on('console', (message) => {
      if (message.type() === 'error') view.problems.push(`${message.text()} ${message.location().url}`)
    })
    context.on('request', (request) => view.hosts.add(new URL(request.url()).host))
    await view.page.goto(demo.address(''))
    return view
  }

  // signIn types name and password as a person would.
  async signIn(): Promise<void> {
    await this.page.fill('#username', this.demo.report.adminUser)
    await this.page.fill('#password', this.demo.report.adminPassword)
    await this.page.press('#password', 'Enter')
    await this.page.waitForSelector('#sidebar', { state: 'attached' })
  }

  // visit goes to a page by the panel's own router: the address changes and nothing is loaded anew.
  async visit(path: string): Promise<void> {
    await this.page.evaluate((address) => {
      history.pushState({}, '', address)
      dispatchEvent(new PopStateEvent('popstate', { state: {} }))
    }, this.demo.address(path))
  }

  // settled waits until nothing loads or moves.
  async settled(): Promise<void> {
    await this.page.waitForFunction(() => document.querySelectorAll('.el-skeleton, .el-loading-mask, [class*=-enter-active], [class*=-leave-active]').length === 0
      && document.getAnimations().every((each) => each.playState !== 'running' || each.effect?.getComputedTiming().iterations === Infinity))
  }

  // file is where a picture is kept.
  file(name: string): string {
    mkdirSync(artifacts, { recursive: true })
    return join(artifacts, `${name}.png`)
  }

  async picture(name: string): Promise<void> {
    await this.page.screenshot({ path: this.file(name) })
  }

  // fits: nothing is wider than the window.
  async fits(name: string): Promise<void> {
    const wide = await this.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth ? [] :
      [...document.querySelectorAll('main *, .el-drawer *')].filter((each) => each.getBoundingClientRect().right > innerWidth + 1).slice(0, 5).map((each) => each.outerHTML.slice(0, 160)))
    expect(wide, `${name} is wider than the window`).toEqual([])
  }

  // translated: no key of a text is shown as it is, and on a Chinese page no English sentence.
  async translated(name: string, groups: string[]): Promise<void> {
    const text = await this.page.evaluate(() => document.body.innerText)
    const key = new RegExp(`\\b(${groups.join('|')})\\.[a-z][A-Za-z.]+\\b`, 'g')
    const hosts = [...text.matchAll(key)].map((match) => match[0])
    expect(hosts, `${name} shows untranslated keys`).toEqual([])
  }

  // accessible runs axe; serious and critical findings fail.
  async accessible(name: string): Promise<void> {
    // By the debugger, not as an element: the content policy allows no foreign script, and that must stay so.
    await this.page.evaluate(`${readFileSync(axe, 'utf8')};0`)
    const found = await this.page.evaluate(async () => {
      const { axe: runner } = window as unknown as { axe: { run: (root: Document, options: object) => Promise<{ violations: { id: string; impact: string; nodes: { html: string; failureSummary?: string }[] }[] }> } }
      const result = await runner.run(document, { resultTypes: ['violations'] })
      return result.violations.filter((each) => each.impact === 'serious' || each.impact === 'critical')
        .map((each) => `${each.id}: ${each.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 200)} ${(node.failureSummary ?? '').slice(0, 240)}`).join('\n')}`)
    })
    expect(found, `${name} is accessible`).toEqual([])
  }

  async close(): Promise<void> {
    await this.context.close()
  }
}
