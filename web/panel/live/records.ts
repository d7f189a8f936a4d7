import { computed, ref, shallowRef, type Ref, type ShallowRef, type WritableComputedRef } from 'vue'
import { tellGood } from './notices'

// Editing keeps what a page edits or deletes at the moment: a record, or a new one.
export interface Editing<Row> {
  row: ShallowRef<Row | undefined>
  open: Ref<boolean>
  add: () => void
  edit: (row: Row) => void
}

export function useEditing<Row>(): Editing<Row> {
  const row = shallowRef<Row>()
  const open = ref(false)
  return {
    row, open,
    add() {
      row.value = undefined
      open.value = true
    },
    edit(which) {
      row.value = which
      open.value = true
    },
  }
}

// Choosing is a row that a question is about; the question is open while there is one.
export interface Choosing<Row> {
  row: ShallowRef<Row | undefined>
  open: WritableComputedRef<boolean>
}

export function useChoosing<Row>(): Choosing<Row> {
  const row = shallowRef<Row>()
  const open = computed({
    get: () => row.value !== undefined,
    set(value) {
      if (!value) row.value = undefined
    },
  })
  return { row, open }
}

// after tells that an action succeeded and loads anew.
export async function after(done: Promise<unknown>, told: string, reload: () => Promise<void>): Promise<void> {
  await done
  tellGood(told)
  await reload()
}
