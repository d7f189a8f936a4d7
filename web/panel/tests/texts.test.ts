import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createI18n } from 'vue-i18n'
import { en } from '../texts/en'
import { zh } from '../texts/zh'

type Tree = { [name: string]: string | Tree }

function flat(tree: Tree, before = ''): Map<string, string> {
  const found = new Map<string, string>()
  for (const [name, value] of Object.entries(tree)) {
    if (typeof value === 'string') found.set(before + name, value)
    else for (const [inner, text] of flat(value, `${before}${name}.`)) found.set(inner, text)
  }
  return found
}

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return entry.name === 'tests' || entry.name === 'api' ? [] : sources(path)
    return /\.(vue|ts)$/.test(entry.name) ? [readFileSync(path, 'utf8')] : []
  })
}

const english = flat(en)
const chinese = flat(zh)
const names = (text: string) => [...new Set([...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]))].filter((name) => name !== 'n' && name !== 'count').sort()

describe('texts', () => {
  it('have the same keys and blanks in every language', () => {
    expect([...chinese.keys()].sort()).toEqual([...english.keys()].sort())
    for (const [key, text] of english) expect(names(chinese.get(key) ?? ''), key).toEqual(names(text))
  })

  it('can be compiled', () => {
    const i18n = createI18n({ legacy: false, locale: 'en', messages: { en, zh } })
    for (const [locale, texts] of [['en', english], ['zh', chinese]] as const) {
      for (const key of texts.keys()) expect(i18n.global.t(key, { n: 1 }, { locale }), key).not.toBe(key)
    }
  })

  it('exist for every key that the panel names', () => {
    const used = new Set(sources(join(import.meta.dirname, '..')).flatMap((source) => [...source.matchAll(/(?:\$t|\bt|translate)\(\s*'([\w.-]+)'/g)].map((match) => match[1] ?? '')))
    expect(used.size).toBeGreaterThan(150)
    expect([...used].filter((key) => !english.has(key))).toEqual([])
  })
})
