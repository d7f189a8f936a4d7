import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

// What `gantry demo --json` prints once everything answers.
interface Report {
  panel: string
  adminUser: string
  adminPassword: string
  api: string
  lab: string
  labToken: string
  labControl: string
  labControlToken: string
  vncproxy: string
  controlled: string
  nodeId: number
  osId: number
  ipPoolId: number
  qemu: boolean
}

interface Reply { code: number; message: string; data: unknown }

const repository = join(import.meta.dirname, '../..')
const startPatience = 120_000
const endPatience = 60_000

// Demo is a running `gantry demo` with real guests under QEMU.
export class Demo {
  private token = ''
  private constructor(
    readonly folder: string,
    readonly report: Report,
    private readonly process: ChildProcess,
  ) {}

  static async start(): Promise<Demo> {
    const binary = process.env['GANTRY_BINARY'] ?? join(repository, 'bin/gantry')
    if (!existsSync(binary)) throw new Error(`${binary} is missing: run make build`)
    const folder = mkdtempSync(join(tmpdir(), 'gantry-panel-'))
    const child = spawn(binary, ['demo', '--data-dir', folder, '--listen', '127.0.0.1:0', '--qemu', 'on', '--no-order', '--json'], { cwd: repository, stdio: ['ignore', 'pipe', 'pipe'] })
    let trouble = ''
    child.stderr.on('data', (text: Buffer) => {
      trouble = (trouble + text.toString()).slice(-8000)
    })
    const line = await new Promise<string>((resolve, reject) => {
      const patience = setTimeout(() => {
        child.kill()
        reject(new Error(`the demo printed nothing\n${trouble}`))
      }, startPatience)
      child.once('exit', (code) => {
        clearTimeout(patience)
        reject(new Error(`the demo ended with ${code ?? 'a signal'}\n${trouble}`))
      })
      createInterface({ input: child.stdout }).once('line', (text) => {
        clearTimeout(patience)
        resolve(text)
      })
    })
    const demo = new Demo(folder, JSON.parse(line) as Report, child)
    await demo.signIn(demo.report.adminPassword)
    return demo
  }

  // stop ends the demo as Ctrl-C does.
  async stop(): Promise<void> {
    const ended = new Promise<number | null>((resolve) => this.process.once('exit', resolve))
    const patience = setTimeout(() => this.process.kill('SIGKILL'), endPatience)
    this.process.kill('SIGTERM')
    const code = await ended
    clearTimeout(patience)
    rmSync(this.folder, { recursive: true, force: true })
    if (code !== 0) throw new Error(`the demo ended with ${String(code)}`)
  }

  address(page: string): string {
    return this.report.panel + page
  }

  async signIn(password: string): Promise<void> {
    this.report.adminPassword = password
    this.token = (await this.call('POST', 'loginDo', { username: this.report.adminUser, password })) as string
  }

  // call makes a call of the admin API and wants success.
  async call(method: string, path: string, body?: unknown): Promise<unknown> {
    const response = await fetch(this.report.panel + path, {
      method, headers: { 'Content-Type': 'application/json', ...(this.token === '' ? {} : { Authorization: this.token }) }, ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const reply = (await response.json()) as Reply
    if (reply.code !== 20000) throw new Error(`${path}: ${String(reply.code)} ${reply.message}`)
    return reply.data
  }

  async records<Row>(path: string): Promise<Row[]> {
    return ((await this.call('GET', `${path}${path.includes('?') ? '&' : '?'}page=1&size=1000`)) as { records: Row[] }).records
  }

  // faults adds a rule to the lab, see lab/fault; clearFaults takes all of them away.
  async fault(kind: 'request' | 'task', rule: unknown): Promise<void> {
    await this.control('POST', `/rules/${kind}`, rule)
  }

  async clearFaults(): Promise<void> {
    await this.control('DELETE', '/rules/')
  }

  private async control(method: string, path: string, body?: unknown): Promise<void> {
    const response = await fetch(this.report.labControl + path, { method, headers: { Authorization: `Bearer ${this.report.labControlToken}` }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
    if (!response.ok) throw new Error(`${path}: ${String(response.status)} ${await response.text()}`)
  }

  // guests are what the lab's node has.
  guests(): string[] {
    return this.files('lab/nodes/pve1/qemu-server').filter((name) => name.endsWith('.conf'))
  }

  logs(): string {
    return this.files('logs').map((name) => `${name}:\n${readFileSync(join(this.folder, 'logs', name), 'utf8').slice(-4000)}`).join('\n')
  }

  daemonSecret(): string {
    return readFileSync(join(this.folder, 'controlled', 'secret'), 'utf8').trim()
  }

  private files(path: string): string[] {
    const folder = join(this.folder, path)
    return existsSync(folder) ? readdirSync(folder) : []
  }
}
