// The panel's texts. A bar separates singular and plural.
export const en = {
  nav: {
    login: 'Sign in', dashboard: 'Dashboard', setup: 'First steps', machines: 'Virtual machines', tasks: 'Tasks', nodes: 'Nodes',
    pools: 'Address pools', images: 'Images', keys: 'API keys', absent: 'Not found',
  },
  common: {
    cancel: 'Cancel', close: 'Close', retry: 'Try again', refresh: 'Refresh', remove: 'Remove', delete: 'Delete', actions: 'Actions', pages: 'Pages',
    yes: 'Yes', no: 'No', never: 'Never', note: 'Please note', unfilter: 'Clear filters', show: 'Show {what}', hide: 'Hide {what}',
    copyWhat: 'Copy {what}', range: '{from}–{to} of {total}', typeName: 'To confirm, type', typeNameOf: 'To confirm, type {name}',
  },
  failure: {
    title: 'That did not work', load: 'This could not be loaded.', unreachable: 'The server does not answer. Check the connection and try again.',
    notJSON: 'The answer is not from Gantry: a proxy in between may be at fault.', status: 'The server answered with status {status}.',
    signedOut: 'Your session has ended. Please sign in again.',
  },
  login: {
    title: 'Gantry', text: 'Sign in to manage your virtual machines.', username: 'User name', password: 'Password', button: 'Sign in',
  },
  absent: { title: 'There is nothing here', text: 'The address may be misspelt, or what it showed was removed.' },
  shell: {
    skip: 'Skip to content', menu: 'Main menu', fold: 'Collapse', unfold: 'Expand', breadcrumb: 'You are here', language: 'Language', theme: 'Appearance',
    themes: { system: 'As the system', light: 'Light', dark: 'Dark' }, account: 'Account', signOut: 'Sign out',
    lost: 'What you see may be out of date.',
  },
  dashboard: {
    setup: 'Finish setting up', continue: 'Continue', running: '{count} running', stopped: '{count} stopped', failed: '{count} failed',
    online: '{count} online', freeAddresses: 'Free addresses', usedAddresses: '{count} in use', readyImages: '{count} ready to use',
    nodes: 'Nodes', imagesReady: 'Images', tasks: 'Latest tasks', allTasks: 'All tasks',
    stuck: 'One task needs you: it failed and could not be undone. | {count} tasks need you: they failed and could not be undone.', showStuck: 'Show',
  },
  setup: {
    text: 'Four steps from an empty installation to the first running machine.', done: 'done',
    finished: 'Everything is ready', finishedText: 'Machines can be ordered here, or by your billing system with an API key.',
    steps: {
      node: { title: 'Connect a hypervisor', text: 'Address, certificate, sign-in, version and privileges are checked before anything is stored.' },
      pool: { title: 'Add addresses', text: 'Machines get their addresses from pools. Name the gateway, and the pool gets the rest of its subnet.' },
      image: { title: 'Bring an image to the node', text: 'Add a cloud image and download it; machines are made from it.' },
      machine: { title: 'Create the first machine', text: 'Choose image and size. It is yours in about a minute.' },
    },
  },
  status: {
    running: 'Running', stopped: 'Stopped', suspended: 'Suspended', resuming: 'Resuming', paused: 'Paused', expired: 'Expired', creating: 'Creating',
    starting: 'Starting', stopping: 'Stopping', forceStopping: 'Stopping hard', suspending: 'Suspending', pausing: 'Pausing', rebooting: 'Rebooting',
    reinstalling: 'Reinstalling', resettingPassword: 'Changing password', overTraffic: 'Over traffic', deleting: 'Deleting', failed: 'Failed', unknown: 'Unknown',
  },
  power: {
    start: 'Start', stop: 'Stop', shutdown: 'Power off', reboot: 'Reboot', suspend: 'Suspend', resume: 'Resume', pause: 'Pause', unpause: 'Release and start',
  },
  powerHint: {
    start: 'Switch it on', stop: 'Ask the system, force it after a while', shutdown: 'Pull the plug: unwritten data is lost', reboot: 'Restart the system',
    suspend: 'Save memory to disk and switch off', resume: 'Go on from the saved memory', pause: 'Power off and forbid the customer to start it',
    unpause: 'Allow the customer to start it, and start it',
  },
  machines: {
    text: 'Every machine of every node, newest first.', create: 'Create machine', search: 'Name, address or VMID', status: 'Status', anyStatus: 'Any status',
    name: 'Name', addresses: 'Addresses', node: 'Node', size: 'Size', memory: 'Memory', uptime: 'Uptime', cpus: '{n} CPU | {n} CPUs',
    cpuOf: 'CPU of {name}', memoryOf: 'Memory of {name}', none: 'No machines yet', noneText: 'Create one here, or let your billing system order it by API.',
    noneFound: 'Nothing found', noneFoundText: 'The search matches the beginning of names, addresses and VMIDs.',
  },
  machine: {
    power: 'Power', powerOf: 'Power of {name}', reinstall: 'Reinstall', delete: 'Delete', overview: 'Overview', history: 'Tasks', live: 'Live values',
    specs: 'Specification', system: 'System', access: 'Sign-in', network: 'Network', address: 'Address', disks: 'Disks', disk: 'Disk', storage: 'Storage',
    diskSize: 'Size', systemDisk: 'System disk', dataDisk: 'Data disk {number}', traffic: 'Traffic since start', of: 'of {total}', created: 'Created',
    cpuDetail: '{sockets} × {cores} × {threads}', noBandwidthLimit: 'no bandwidth limit', lastError: 'The last task failed', drift: 'It differs from what was ordered',
    forceText: '{name} is switched off at once, as if its plug were pulled. What it has not written to disk is lost.',
    gone: 'This machine does not exist', goneText: 'It was deleted, or never existed.', deleteTitle: 'Delete {name}?',
    deleteText: 'The machine is stopped and deleted with all its disks; its addresses become free. This cannot be undone.', deleteForGood: 'Delete for good',
  },
  charts: {
    day: 'The last day', cpu: 'CPU', memory: 'Memory', network: 'Network', disk: 'Disk', netin: 'in', netout: 'out', read: 'read', write: 'written',
    none: 'There is no history yet. It begins a few minutes after the first start.',
  },
  console: {
    title: 'Console', reopen: 'Reconnect', window: 'Own window', off: 'The machine is not running', offText: 'Start it to see its screen.',
    blocked: 'The console proxy does not let this page embed its screen',
    blockedText: 'Open it in its own window, or add {origin} to allowed_origins in the proxy\'s settings.',
  },
  create: {
    title: 'Create machine', image: 'Image', chooseImage: 'Choose an image', notOnNode: 'not on this node', hostname: 'Host name',
    hostnameHint: 'Default: the first address with dashes', cores: 'Cores', memory: 'Memory (MiB)', disk: 'System disk (GiB)', diskDefault: 'As the image needs',
    password: 'Password', passwordHint: 'Default: a random one', address: 'Address', anyAddress: 'Any free one', freeCount: '{count} free IPv4 addresses on this node',
    ipv4num: 'IPv4 addresses', ipv6num: 'IPv6 addresses', more: 'More settings', sockets: 'Sockets', cpu: 'CPU type', storage: 'Storage',
    storageAuto: 'Automatic: {name}', bridge: 'Bridge', bandwidth: 'Bandwidth (Mbps)', zeroUnlimited: '0 = unlimited', readLimit: 'Disk reads (MB/s)',
    writeLimit: 'Disk writes (MB/s)', usernameHint: 'Default: as the system needs', expires: 'Expires', dataDisks: 'Data disks (GiB)', dataDisk: 'Size of data disk {number}',
    addDisk: 'Add disk', sshKeys: 'SSH keys, one a line', onBoot: 'Start with the node', nested: 'Nested virtualisation', button: 'Create',
    noNode: 'There is no node yet: add one first.', noImage: 'No image is on this node yet: download one first.',
    ordered: '{name} is being created', orderedText: 'Everything is reserved. You may close this window: the work goes on.', done: '{name} is running', show: 'Show machine',
  },
  reinstall: {
    title: 'Reinstall {name}?', text: 'The system disk gets a fresh system; name and addresses stay. The old disk is deleted only after the new system was seen running.',
    password: 'New password', keepPassword: 'Keep the present one', dataDisks: 'Make the data disks empty, too', button: 'Reinstall',
  },
  task: {
    kind: 'Task', machine: 'Machine', machineNumber: 'Machine {id}', state: 'State', progress: 'Progress', by: 'Asked by', begun: 'Begun', ended: 'Ended',
    deadline: 'Deadline', cancelledBy: 'Cancelled by', cancelling: 'Cancelling', request: 'Request', steps: 'Steps', noSteps: 'No step has ended yet.',
    undone: 'put back', undoing: 'Putting back', took: 'took {time} s',
    undoneHint: 'Everything that it made or reserved was put back. Mend the cause and order anew.',
    stuckHint: 'It could not put everything back and keeps what it holds. Mend the cause, then let it try again.',
    kinds: { create: 'Create', power: 'Power', reinstall: 'Reinstall', delete: 'Delete', 'download-image': 'Download image' },
    states: { ready: 'Queued', running: 'Running', waiting: 'Working', undoing: 'Putting back', done: 'Done', undone: 'Failed, put back', cancelled: 'Cancelled', stuck: 'Needs you' },
    stepStates: { done: 'Done', failed: 'Failed', retried: 'Retried' },
    told: { done: '{what} is done', undone: '{what} failed and was put back', stuck: '{what} failed and needs you' },
  },
  step: {
    'create-guest': 'Create guest', 'import-disk': 'Import disk', 'attach-disk': 'Attach disk', 'grow-disk': 'Grow disk', start: 'Start', verify: 'Look whether it runs',
    fetch: 'Download', press: 'Press the button', stop: 'Stop', 'replace-disks': 'Replace disks', configure: 'Configure', 'remove-old-disks': 'Remove old disks',
    'remove-guest': 'Remove guest', release: 'Release addresses',
  },
  tasks: {
    text: 'Every long action with its steps.', anyState: 'Any state', active: 'Under way', anyKind: 'Any task', none: 'No tasks',
    noneText: 'Tasks appear here as soon as something is ordered.',
  },
  nodes: {
    text: 'The hypervisors that carry your machines.', node: 'Node', cluster: 'Address', version: 'Version', autoStorage: 'Storage for new disks', account: 'Account',
    daemon: 'Node daemon', add: 'Add node', checking: 'Checking', added: 'The node was added', none: 'No nodes yet', noneText: 'Connect a Proxmox VE node to begin.',
    problems: 'The node was added, but this should be mended', host: 'Host name or address', port: 'Port', signIn: 'Sign in with', byToken: 'API token', byPassword: 'Password',
    tokenId: 'Token ID', tokenSecret: 'Token secret', realm: 'Realm', label: 'Name for people', nodeName: 'Node in the cluster', nodeNameHint: 'Default: the one that answers',
    daemonHint: 'The daemon downloads images and imports disks on the node. Without it, Proxmox VE 8.2 or newer does that by itself where it can.',
    controllerUrl: 'Daemon URL', controllerSecret: 'Daemon secret', pin: 'Certificate (SHA-256)', pinHint: 'Default: learnt now',
    states: { online: 'Online', offline: 'Offline', disabled: 'Disabled' }, daemons: { answers: 'Answers', silent: 'Silent', none: 'None', unasked: 'Not asked yet' },
  },
  pools: {
    text: 'Addresses that machines may get.', pool: 'Address pool', add: 'Add pool', added: 'The pool was added', none: 'No address pools yet',
    noneText: 'A machine needs an address. Name a gateway and its prefix length to add a whole subnet.', name: 'Name', gateway: 'Gateway', mask: 'Mask', prefix: 'Prefix length',
    dns1: 'First name server', dns2: 'Second name server', maskHint: 'Every usable address of the gateway\'s subnet is added. The gateway itself is held back.',
    usage: 'Usage', free: 'Free', used: 'In use', held: 'Held back', addRange: 'Add range', rangeAdded: '{count} addresses were added', start: 'First address', end: 'Last address',
    rangeHint: 'Both ends are included. Addresses that the pool has already are passed over.', noAddresses: 'No addresses', noAddressesText: 'Add a range of addresses to this pool.',
    facts: '{gateway} · {free} free, {used} in use, {held} held back', states: { free: 'Free', used: 'In use', held: 'Gateway or held back' },
  },
  images: {
    text: 'Systems that machines are made from.', add: 'Add image', added: 'The image was added', addedText: 'Download it to a node to use it.', none: 'No images yet',
    noneText: 'Add a cloud image by its address, then download it to your nodes.', name: 'Name', fileName: 'File name', system: 'System', size: 'Size', addedOn: 'Added',
    onNodes: 'On the nodes', source: 'Where it comes from', fromURL: 'Download', byHand: 'Put on the nodes by hand', url: 'Address (URL)', family: 'Family',
    distribution: 'Distribution', arch: 'Architecture', checksum: 'Checksum', checksumHint: 'With it, a damaged or changed download is refused.', cloud: 'The image has cloud-init',
    download: 'Download', states: { absent: 'Not here', downloading: 'Downloading', ready: 'Ready', failed: 'Failed' },
    distributions: { debian: 'Debian', ubuntu: 'Ubuntu', centos: 'CentOS', fedora: 'Fedora', alpine: 'Alpine', opensuse: 'openSUSE', ubuntukylin: 'Ubuntu Kylin', other: 'Other' },
  },
  keys: {
    text: 'Credentials for billing systems and scripts.', create: 'Create key', made: 'The key is ready', once: 'The secret is shown this once. Copy it now.', appid: 'App ID',
    secret: 'Secret', note: 'Note', noNote: 'Without note', noteHint: 'For example: WHMCS', kept: 'I have copied it', usable: 'Usable', disabled: 'Disabled', created: 'Created',
    disable: 'Disable', enable: 'Enable', none: 'No API keys yet', noneText: 'A billing system signs in with a key.', deleted: 'The key was deleted', deleteTitle: 'Delete this key?',
    deleteText: 'Whoever uses it is refused from now on. The machines that it ordered stay.',
  },
}

export type Messages = typeof en
