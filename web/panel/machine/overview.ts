import { admin, answer, type Image, type Node, type Pool } from '../api/client'
import { allImages, allNodes, allPools } from './choices'

export interface Overview {
  machines: { total: number; running: number; stopped: number; failed: number }
  nodes: Node[]
  pools: Pool[]
  images: Image[]
  perNode: Map<number, number>
}

async function machines(filter: { status?: number; nodeId?: number }): Promise<number> {
  return (await answer(admin.GET('/getVmByPage', { params: { query: { page: 1, size: 1, ...filter } } }))).data.total
}

// mostCounted bounds the calls for the dashboard.
const mostCounted = 24

// overview gathers the dashboard's figures; the server counts.
export async function overview(): Promise<Overview> {
  const [nodes, pools, images, total, running, stopped, failed] = await Promise.all([
    allNodes(), allPools(), allImages(), machines({}), machines({ status: 0 }), machines({ status: 1 }), machines({ status: 17 }),
  ])
  const counted = await Promise.all(nodes.slice(0, mostCounted).map(async (node) => [node.id, await machines({ nodeId: node.id })] as const))
  return { machines: { total, running, stopped, failed }, nodes, pools, images, perNode: new Map(counted) }
}

export type SetupStep = 'node' | 'pool' | 'image' | 'machine'
export const setupSteps: SetupStep[] = ['node', 'pool', 'image', 'machine']

// nextStep is what is missing before machines can be sold; undefined = nothing.
export function nextStep(found: Pick<Overview, 'nodes' | 'pools' | 'images' | 'machines'>): SetupStep | undefined {
  if (found.nodes.length === 0) return 'node'
  if (!found.pools.some((pool) => pool.available + pool.used > 0)) return 'pool'
  if (!found.images.some((image) => Object.values(image.nodeStatus ?? {}).some((copy) => copy.status === 2))) return 'image'
  if (found.machines.total === 0) return 'machine'
  return undefined
}
