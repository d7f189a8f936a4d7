import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build, type Rolldown } from 'vite'
import { describe, expect, it } from 'vitest'

interface Chunk { file: string; css?: string[]; imports?: string[]; isEntry?: boolean }

const web = join(import.meta.dirname, '../..')
const limit = 400 * 1024

// The first load is the entry with all that it imports at once, then shell and the largest page; charts and console come later.
describe('first load', () => {
  it('takes 400 kB gzipped at most', { timeout: 120_000 }, async () => {
    const built = (await build({ configFile: join(web, 'vite.panel.config.ts'), root: join(web, 'panel'), logLevel: 'silent', plugins: [], build: { write: false } })) as Rolldown.RolldownOutput
    const files = new Map(built.output.map((file) => [file.fileName, file.type === 'chunk' ? file.code : file.source]))
    const manifest = JSON.parse(String(files.get('manifest.json'))) as Record<string, Chunk>
    const wanted = new Set<string>()
    const take = (name: string): void => {
      const chunk = manifest[name]
      if (chunk === undefined || wanted.has(chunk.file)) return
      for (const file of [chunk.file, ...(chunk.css ?? [])]) wanted.add(file)
      for (const inner of chunk.imports ?? []) take(inner)
    }
    for (const name of ['index.html', 'components/AppShell.vue', 'pages/MachinePage.vue', 'pages/MachinesPage.vue', 'pages/DashboardPage.vue', 'pages/LoginPage.vue']) {
      expect(manifest[name], name).toBeDefined()
      take(name)
    }
    const size = [...wanted].reduce((sum, file) => sum + gzipSync(files.get(file) ?? '').length, 0)
    console.info(`first load: ${Math.round(size / 1024)} KiB gzipped in ${wanted.size} files`)
    expect(size).toBeGreaterThan(100 * 1024)
    expect(size).toBeLessThan(limit)
  })

  it('runs and asks for nothing inline or foreign', () => {
    const page = readFileSync(join(web, 'panel/index.html'), 'utf8')
    expect(page).not.toMatch(/<script(?![^>]*\ssrc="\.\/)|<style|\sstyle=|\son\w+=|https?:\/\//)
  })
})
