import { admin, answer, common, type Image, type Node, type Pool } from '../api/client'

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
