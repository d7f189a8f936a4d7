import { ref, watch } from 'vue'

// The columns of the list that may be hidden; name and power buttons always stay.
export const columnNames = ['status', 'addresses', 'node', 'size', 'cpu', 'memory', 'uptime', 'expires'] as const
export type Column = (typeof columnNames)[number]

const storageKey = 'gantry-columns'
const usual: Column[] = ['status', 'addresses', 'node', 'size', 'cpu', 'memory', 'uptime']

function kept(): Column[] {
  const text = localStorage.getItem(storageKey)
  return text === null ? usual : columnNames.filter((name) => text.split(',').includes(name))
}

export const columns = ref<Column[]>(kept())

watch(columns, (names) => {
  localStorage.setItem(storageKey, columnNames.filter((name) => names.includes(name)).join(','))
})
