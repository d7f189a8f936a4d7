import { admin, answer, common, type Area, type Image, type Node, type Plan, type Pool } from '../api/client'

// most is the longest list that a choice offers at once; the API gives no longer page.
const most = 1000

const query = { params: { query: { page: 1, size: most } } }

export async function allNodes(): Promise<Node[]> {
  return (await answer(admin.GET('/selectNodeByPage', query))).data.records
}

export async function allPools(): Promise<Pool[]> {
  return (await answer(admin.GET('/selectIpPoolList', query))).data.records
}

export async function allImages(): Promise<Image[]> {
  const { data } = await answer(admin.GET('/selectOsByPage', query))
  return data.records.filter((image) => image !== null)
}

export async function cpuTypes(): Promise<string[]> {
  const { data } = await answer(common.GET('/api/common/cpuType', {}))
  return Object.keys(data ?? {}).sort((a, b) => a.localeCompare(b))
}

// readyOn tells whether machines on the node can be made from the image now.
export function readyOn(image: Image, node: number): boolean {
  return Object.values(image.nodeStatus ?? {}).some((copy) => copy.nodeId === node && copy.status === 2)
}

export function nodeLabel(node: Node): string {
  return node.name === null || node.name === node.nodeName ? node.nodeName : `${node.name} (${node.nodeName})`
}

export async function allAreas(): Promise<Area[]> {
  return (await answer(admin.GET('/getAreaList', query))).data.records
}

export async function allPlans(): Promise<Plan[]> {
  return (await answer(admin.GET('/getConfiguretemplateByPage', query))).data.records
}

// Branch is an area with its place in the tree.
export interface Branch { area: Area; depth: number; path: string }

// treeOf orders areas so that each stands below its parent. An area whose parent is unknown stands at the top.
export function treeOf(areas: readonly Area[]): Branch[] {
  const known = new Set(areas.map((area) => area.id))
  const children = new Map<number, Area[]>()
  for (const area of areas) {
    const parent = known.has(area.parent) ? area.parent : 0
    children.set(parent, [...(children.get(parent) ?? []), area])
  }
  const rows: Branch[] = []
  const walk = (parent: number, depth: number, path: string): void => {
    for (const area of (children.get(parent) ?? []).toSorted((a, b) => a.name.localeCompare(b.name))) {
      const own = path === '' ? area.name : `${path} / ${area.name}`
      rows.push({ area, depth, path: own })
      walk(area.id, depth + 1, own)
    }
  }
  walk(0, 0, '')
  return rows
}

// modelChoices are the hardware models that plans and groups name.
export async function modelChoices(): Promise<Record<'cpus' | 'groups' | 'tables', { value: number; label: string }[]>> {
  const [cpus, tables, groups] = await Promise.all([
    answer(admin.GET('/selectCpuInfoPage', query)), answer(admin.GET('/getSmbiosInfoList', query)), answer(admin.GET('/getModelGroupPage', query)),
  ])
  return {
    cpus: cpus.data.records.map((each) => ({ value: each.id, label: each.name || `#${String(each.id)}` })),
    tables: tables.data.records.map((each) => ({ value: each.id, label: `${each.info} (${String(each.type)})` })),
    groups: groups.data.records.map((each) => ({ value: each.id, label: each.info })),
  }
}
