import { ref, watchEffect } from 'vue'

export type Theme = 'system' | 'light' | 'dark'

const storageKey = 'gantry-theme'
const system = matchMedia('(prefers-color-scheme: dark)')
const systemDark = ref(system.matches)
system.addEventListener('change', () => {
  systemDark.value = system.matches
})

function kept(): Theme {
  const text = localStorage.getItem(storageKey)
  return text === 'light' || text === 'dark' ? text : 'system'
}

export const theme = ref<Theme>(kept())
export const dark = ref(false)

export function setTheme(choice: Theme): void {
  theme.value = choice
  if (choice === 'system') localStorage.removeItem(storageKey)
  else localStorage.setItem(storageKey, choice)
}

watchEffect(() => {
  dark.value = theme.value === 'dark' || (theme.value === 'system' && systemDark.value)
  document.documentElement.classList.toggle('dark', dark.value)
})
