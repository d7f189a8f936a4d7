import { computed, watchEffect } from 'vue'
import { createI18n } from 'vue-i18n'
import { en } from './en'
import { zh } from './zh'

// A further language is a file like zh.ts, an entry here and one in languages.
const messages = { en, zh }

export type Language = keyof typeof messages
export const languages: { code: Language; name: string }[] = [
  { code: 'en', name: 'English' },
  { code: 'zh', name: '中文' },
]

const storageKey = 'gantry-language'

function isLanguage(text: string | null | undefined): text is Language {
  return text !== null && text !== undefined && text in messages
}

function preferred(): Language {
  const kept = localStorage.getItem(storageKey)
  if (isLanguage(kept)) return kept
  return navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase()).find(isLanguage) ?? 'en'
}

export const i18n = createI18n({ legacy: false, locale: preferred(), fallbackLocale: 'en', messages })

export const locale = computed<Language>(() => i18n.global.locale.value)

export function setLanguage(language: Language): void {
  i18n.global.locale.value = language
  localStorage.setItem(storageKey, language)
}

watchEffect(() => {
  document.documentElement.lang = locale.value === 'zh' ? 'zh-CN' : 'en'
})

// translate is for code outside of components.
export function translate(key: string, named: Record<string, unknown> = {}): string {
  return i18n.global.t(key, named)
}

// known gives a text that may not exist: words of the server that a newer version may have added.
export function known(key: string, otherwise: string): string {
  return i18n.global.te(key) || i18n.global.te(key, 'en') ? i18n.global.t(key) : otherwise
}
