export type Tone = 'good' | 'idle' | 'busy' | 'warn' | 'bad'

interface Status {
  word: string
  tone: Tone
}

// Statuses of vmhost.status. The wire shows a machine that needs an operator as stopped.
const statuses: Record<number, Status> = {
  0: { word: 'running', tone: 'good' },
  1: { word: 'stopped', tone: 'idle' },
  2: { word: 'suspended', tone: 'warn' },
  3: { word: 'resuming', tone: 'busy' },
  4: { word: 'paused', tone: 'warn' },
  5: { word: 'expired', tone: 'bad' },
  6: { word: 'creating', tone: 'busy' },
  7: { word: 'starting', tone: 'busy' },
  8: { word: 'stopping', tone: 'busy' },
  9: { word: 'forceStopping', tone: 'busy' },
  10: { word: 'suspending', tone: 'busy' },
  11: { word: 'pausing', tone: 'busy' },
  12: { word: 'rebooting', tone: 'busy' },
  13: { word: 'reinstalling', tone: 'busy' },
  14: { word: 'resettingPassword', tone: 'busy' },
  15: { word: 'overTraffic', tone: 'warn' },
  16: { word: 'deleting', tone: 'busy' },
  17: { word: 'failed', tone: 'bad' },
}

export function statusOf(code: number): Status {
  return statuses[code] ?? { word: 'unknown', tone: 'warn' }
}

// filterable are the states that the list can be filtered by.
export const filterable = [0, 1, 2, 4, 6, 13, 16, 17]

export type PowerAction = 'start' | 'stop' | 'shutdown' | 'reboot' | 'suspend' | 'resume' | 'pause' | 'unpause'

// offered lists the power buttons that make sense in a state; the server judges anew.
export function offered(code: number): PowerAction[] {
  switch (code) {
    case 0:
      return ['reboot', 'stop', 'shutdown', 'suspend', 'pause']
    case 1:
      return ['start']
    case 2:
      return ['resume', 'shutdown']
    case 4:
      return ['unpause']
    default:
      return []
  }
}

// forceful actions cut the guest off without asking it.
export function forceful(action: PowerAction): boolean {
  return action === 'shutdown' || action === 'pause'
}
