import { admin, answer, type Image, type Node, type Overview as Sum, type Pool } from '../api/client'
import { allImages, allNodes, allPools } from './choices'

export interface Overview {
  // sum is what the server added up from its store.
  sum: Sum
  nodes: Node[]
  pools: Pool[]
  images: Image[]
  initialPassword: boolean
}

// overview gathers what dashboard and wizard show.
export async function overview(): Promise<Overview> {
  const offset = -new Date().getTimezoneOffset()
  const [sum, session, nodes, pools, images] = await Promise.all([
    answer(admin.GET('/getOverview', { params: { query: { offset } } })), answer(admin.GET('/getSession', {})), allNodes(), allPools(), allImages(),
  ])
  return { sum: sum.data, nodes, pools, images, initialPassword: session.data.initialPassword }
}

export type SetupStep = 'password' | 'node' | 'pool' | 'image' | 'machine'
export const setupSteps: SetupStep[] = ['password', 'node', 'pool', 'image', 'machine']

type Found = Pick<Overview, 'nodes' | 'pools' | 'images' | 'initialPassword'> & { sum: { machines: { total: number } } }

// doneSteps are the steps that need nothing more. They may be done in any order; the wizard leads through them in its own.
export function doneSteps(found: Found): Record<SetupStep, boolean> {
  return {
    password: !found.initialPassword,
    node: found.nodes.length > 0,
    pool: found.pools.some((pool) => pool.available + pool.used > 0),
    image: found.images.some((image) => Object.values(image.nodeStatus ?? {}).some((copy) => copy.status === 2)),
    machine: found.sum.machines.total > 0,
  }
}

// nextStep is what is missing before machines can be sold; undefined = nothing.
export function nextStep(found: Found): SetupStep | undefined {
  const done = doneSteps(found)
  return setupSteps.find((step) => !done[step])
}
