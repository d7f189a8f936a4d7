import { ref } from 'vue'
import { nameTab } from '../router'

// here is the last word of the breadcrumb where the page knows it only after loading: the name of a machine or a pool.
export const here = ref('')

export function nameHere(name: string): void {
  here.value = name
  nameTab(name)
}
