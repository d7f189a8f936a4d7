import { ref } from 'vue'

// The token lives as long as the tab: sessionStorage survives a reload and nothing else.
const tokenKey = 'gantry-token'
const nameKey = 'gantry-name'

export const token = ref(sessionStorage.getItem(tokenKey) ?? '')
export const userName = ref(sessionStorage.getItem(nameKey) ?? '')

export function signIn(fresh: string, name: string): void {
  token.value = fresh
  userName.value = name
  sessionStorage.setItem(tokenKey, fresh)
  sessionStorage.setItem(nameKey, name)
}

export function signOut(): void {
  token.value = ''
  sessionStorage.removeItem(tokenKey)
  sessionStorage.removeItem(nameKey)
}
