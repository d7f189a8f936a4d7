import createClient, { type Middleware } from 'openapi-fetch'
import { locale, translate } from '../texts'
import { codeSuccess, Failure, refusal } from './failure'
import type { components, paths } from './schema'
import { signOut, token } from './session'

type Schemas = components['schemas']
export type Machine = Schemas['AmsVM']
export type MachineHost = Schemas['AmsVMHost']
export type Task = Schemas['AmsTask']
export type TaskStep = Schemas['AmsTaskStep']
export type Node = Schemas['AdminNode']
export type Pool = Schemas['AdminPool']
export type Address = Schemas['AmsAddress']
export type Image = Schemas['AmsImage']
export type ImageNode = Schemas['AmsImageNode']
export type Key = Schemas['AdminKey']
export type Area = Schemas['AmsArea']
export type Plan = Schemas['AmsPlan']
export type CPUModel = Schemas['AmsCPUModel']
export type SMBIOSTable = Schemas['AmsSMBIOS']
export type ModelGroup = Schemas['AmsGroup']
export type Admin = Schemas['AdminAdminRecord']
export type ConsoleNode = Schemas['AdminConsoleNode']
export type HypervisorKind = Schemas['AdminHypervisorKind']
export type Overview = Schemas['AdminOverview']
export type NodeUse = Schemas['AdminNodeUse']
export type UnmanagedGuest = Schemas['AdminUnmanagedVM']
export type CatalogueImage = Schemas['AdminCatalogueImage']

// basePath is "/<admin path>": the server writes it into the page's <base>.
export const basePath = new URL(document.baseURI).pathname.replace(/\/$/, '')

const credentials: Middleware = {
  onRequest({ request }) {
    if (token.value !== '') request.headers.set('Authorization', `Bearer ${token.value}`)
    request.headers.set('Accept-Language', locale.value)
    return request
  },
}

const settings = { cache: 'no-store', credentials: 'omit', redirect: 'error' } as const

// admin calls what stands below the admin path; common what anybody may call. Both are typed by the OpenAPI document.
export const admin = createClient<paths>({ ...settings, baseUrl: location.origin + basePath })
export const common = createClient<paths>({ ...settings, baseUrl: location.origin })
admin.use(credentials)
common.use(credentials)

interface Envelope<Data> {
  code: number
  message: string
  data?: Data
  warnings?: string[]
}

interface Reply<Data> {
  data?: Envelope<Data>
  error?: unknown
  response: Response
}

// Answer is the data of a call that succeeded. task is the id of the task that goes on with the work.
export interface Answer<Data> {
  data: Data
  warnings: string[]
  task: number | undefined
}

function isEnvelope(value: unknown): value is Envelope<unknown> {
  return typeof value === 'object' && value !== null && 'code' in value && 'message' in value
}

// answer waits for a call and opens its envelope. Whatever is no success is thrown as a Failure; an ended session signs out.
export async function answer<Data>(pending: Promise<Reply<Data>>): Promise<Answer<Data>> {
  let reply: Reply<Data>
  try {
    reply = await pending
  } catch (thrown) {
    // fetch rejects where no answer came; a body that is no JSON is a proxy's page.
    if (thrown instanceof DOMException && thrown.name === 'AbortError') throw thrown
    if (thrown instanceof SyntaxError) throw new Failure('broken', translate('failure.notJSON'))
    throw new Failure('unreachable', translate('failure.unreachable'))
  }
  const envelope: unknown = reply.data ?? reply.error
  if (!isEnvelope(envelope)) throw new Failure('broken', translate('failure.status', { status: reply.response.status }))
  if (envelope.code !== codeSuccess) {
    const failure = refusal(envelope.code, envelope.message)
    if (failure.kind === 'signed-out') signOut()
    throw failure
  }
  const task = Number(reply.response.headers.get('X-Task-Id'))
  return { data: envelope.data as Data, warnings: envelope.warnings ?? [], task: task > 0 ? task : undefined }
}
