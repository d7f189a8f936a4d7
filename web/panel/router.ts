import { watch } from 'vue'
import { createRouter, createWebHistory, type RouteRecordRaw } from 'vue-router'
import { basePath } from './api/client'
import { token } from './api/session'
import { locale, translate } from './texts'

declare module 'vue-router' {
  interface RouteMeta {
    // title is the key of the page's name; parent the route that the breadcrumb shows before it.
    title?: string
    parent?: string
    open?: boolean
  }
}

const pages: RouteRecordRaw[] = [
  { path: '/login', name: 'login', component: () => import('./pages/LoginPage.vue'), meta: { title: 'nav.login', open: true } },
  {
    path: '/',
    component: () => import('./components/AppShell.vue'),
    children: [
      { path: '', name: 'dashboard', component: () => import('./pages/DashboardPage.vue'), meta: { title: 'nav.dashboard' } },
      { path: 'setup', name: 'setup', component: () => import('./pages/SetupPage.vue'), meta: { title: 'nav.setup', parent: 'dashboard' } },
      { path: 'vms', name: 'machines', component: () => import('./pages/MachinesPage.vue'), meta: { title: 'nav.machines' } },
      { path: 'vms/:host(\\d+)', name: 'machine', component: () => import('./pages/MachinePage.vue'), meta: { parent: 'machines' } },
      { path: 'tasks', name: 'tasks', component: () => import('./pages/TasksPage.vue'), meta: { title: 'nav.tasks' } },
      { path: 'unmanaged', name: 'unmanaged', component: () => import('./pages/UnmanagedPage.vue'), meta: { title: 'nav.unmanaged' } },
      { path: 'recycle', name: 'recycle', component: () => import('./pages/RecyclePage.vue'), meta: { title: 'nav.recycle' } },
      { path: 'plans', name: 'plans', component: () => import('./pages/PlansPage.vue'), meta: { title: 'nav.plans' } },
      { path: 'models', name: 'models', component: () => import('./pages/ModelsPage.vue'), meta: { title: 'nav.models' } },
      { path: 'areas', name: 'areas', component: () => import('./pages/AreasPage.vue'), meta: { title: 'nav.areas' } },
      { path: 'consoles', name: 'consoles', component: () => import('./pages/ConsolesPage.vue'), meta: { title: 'nav.consoles' } },
      { path: 'admins', name: 'admins', component: () => import('./pages/AdminsPage.vue'), meta: { title: 'nav.admins' } },
      { path: 'audit', name: 'audit', component: () => import('./pages/AuditPage.vue'), meta: { title: 'nav.audit' } },
      { path: 'settings', name: 'settings', component: () => import('./pages/SettingsPage.vue'), meta: { title: 'nav.settings' } },
      { path: 'account', name: 'account', component: () => import('./pages/AccountPage.vue'), meta: { title: 'nav.account' } },
      { path: 'nodes/:node(\\d+)', name: 'node', component: () => import('./pages/NodePage.vue'), meta: { parent: 'nodes' } },
      { path: 'nodes', name: 'nodes', component: () => import('./pages/NodesPage.vue'), meta: { title: 'nav.nodes' } },
      { path: 'pools', name: 'pools', component: () => import('./pages/PoolsPage.vue'), meta: { title: 'nav.pools' } },
      { path: 'pools/:pool(\\d+)', name: 'pool', component: () => import('./pages/PoolPage.vue'), meta: { parent: 'pools' } },
      { path: 'images', name: 'images', component: () => import('./pages/ImagesPage.vue'), meta: { title: 'nav.images' } },
      { path: 'keys', name: 'keys', component: () => import('./pages/KeysPage.vue'), meta: { title: 'nav.keys' } },
      { path: ':rest(.*)*', name: 'absent', component: () => import('./pages/AbsentPage.vue'), meta: { title: 'nav.absent' } },
    ],
  },
]

export const router = createRouter({ history: createWebHistory(basePath), routes: pages, scrollBehavior: (_to, _from, saved) => saved ?? { top: 0 } })

router.beforeEach((to) => {
  if (token.value === '' && to.meta.open !== true) return { name: 'login', query: to.fullPath === '/' ? {} : { to: to.fullPath } }
  if (token.value !== '' && to.name === 'login') return { name: 'dashboard' }
  return true
})

// An ended session leads to the login, and back afterwards.
watch(token, (present) => {
  const here = router.currentRoute.value
  if (present === '' && here.meta.open !== true) void router.replace({ name: 'login', query: { to: here.fullPath } })
})

export function nameTab(title: string): void {
  document.title = title === '' ? 'Gantry' : `${title} – Gantry`
}

watch([router.currentRoute, locale], ([route]) => {
  if (route.meta.title !== undefined) nameTab(translate(route.meta.title))
})
