import type { NodeUse } from '../api/client'

// What a node has, and how much of it machines were promised: shares of 1, undefined where it is not known.
export interface Capacity { cpu: number | undefined; memory: number | undefined; storage: number | undefined }

export function capacityOf(use: NodeUse): Capacity {
  return {
    cpu: use.cpus > 0 ? use.promisedCpus / use.cpus : undefined,
    memory: use.memory > 0 ? use.promisedMemory / use.memory : undefined,
    storage: use.storage > 0 ? (use.storage - use.storageFree) / use.storage : undefined,
  }
}

// byCluster groups nodes, clusters in order of their name.
export function byCluster(nodes: readonly NodeUse[]): { id: number; name: string; nodes: NodeUse[] }[] {
  const found = new Map<number, { id: number; name: string; nodes: NodeUse[] }>()
  for (const node of nodes) {
    const cluster = found.get(node.clusterId) ?? { id: node.clusterId, name: node.cluster, nodes: [] }
    cluster.nodes.push(node)
    found.set(node.clusterId, cluster)
  }
  return [...found.values()].toSorted((a, b) => a.name.localeCompare(b.name))
}
