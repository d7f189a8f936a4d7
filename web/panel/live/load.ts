import { computed, onScopeDispose, ref, shallowRef, watch, type Ref, type ShallowRef } from 'vue'
import { useRoute, useRouter } from 'vue-router'
import { failureOf, type Failure } from '../api/failure'

export interface Loaded<Data> {
  data: ShallowRef<Data | undefined>
  failure: ShallowRef<Failure | undefined>
  loading: Ref<boolean>
  reload: () => Promise<void>
}

// useLoad calls fetch now, on reload, and each time that what watched returns changes. Of answers that overtake each other the
// newest call's holds. Data stays while it is loaded anew, so that nothing jumps.
export function useLoad<Data>(fetch: () => Promise<Data>, watched: () => unknown = () => 0): Loaded<Data> {
  const data = shallowRef<Data>()
  const failure = shallowRef<Failure>()
  const loading = ref(false)
  let newest = 0

  async function reload(): Promise<void> {
    const mine = ++newest
    loading.value = true
    try {
      const fresh = await fetch()
      if (mine !== newest) return
      data.value = fresh
      failure.value = undefined
    } catch (thrown) {
      if (mine !== newest) return
      failure.value = failureOf(thrown)
    }
    loading.value = false
  }

  watch(watched, () => void reload(), { immediate: true })
  onScopeDispose(() => newest++)
  return { data, failure, loading, reload }
}

// useQuery keeps a text in the URL's query, so that a link or a reload shows the same. Changing any filter leads back to page 1.
export function useQuery(name: string, otherwise = ''): Ref<string> {
  const route = useRoute()
  const router = useRouter()
  const here = route.name
  return computed({
    get() {
      const value = route.query[name]
      return typeof value === 'string' ? value : otherwise
    },
    set(text) {
      if (route.name !== here) return
      const query = { ...route.query, [name]: text === otherwise ? undefined : text }
      if (name !== 'page') query['page'] = undefined
      void router.replace({ query })
    },
  })
}

// usePageNumber is the page of a list in the URL, from 1.
export function usePageNumber(): Ref<number> {
  const text = useQuery('page', '1')
  return computed({
    get: () => Math.max(1, Math.trunc(Number(text.value)) || 1),
    set(number) {
      text.value = String(number)
    },
  })
}

export const pageSize = 20

// useSubmit runs an action once at a time and keeps what went wrong, for the form to show.
export function useSubmit(): { busy: Ref<boolean>; failure: ShallowRef<Failure | undefined>; submit: (action: () => Promise<void>) => Promise<boolean> } {
  const busy = ref(false)
  const failure = shallowRef<Failure>()
  async function submit(action: () => Promise<void>): Promise<boolean> {
    if (busy.value) return false
    busy.value = true
    failure.value = undefined
    try {
      await action()
      return true
    } catch (thrown) {
      failure.value = failureOf(thrown)
      return false
    } finally {
      busy.value = false
    }
  }
  return { busy, failure, submit }
}
