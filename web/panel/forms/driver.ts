import type { paths } from '../api/schema'
import type { HypervisorKind } from '../api/client'
import type { Field, Values } from './fields'

export type NodeRequest = NonNullable<paths['/insertNodeMaster']['post']['requestBody']>['content']['application/json']

// What insertNodeMaster takes beside options; whatever else a driver has goes into these.
const own = ['host', 'port', 'username', 'password', 'realm', 'tokenId', 'tokenSecret', 'nodeName', 'name', 'controllerUrl', 'controllerSecret', 'controllerTlsPin']
const byToken = ['tokenId', 'tokenSecret']
const byPassword = ['username', 'password', 'realm']
// Key files have several lines, which an input for passwords would swallow.
const files = ['privateKey', 'clientCertificate', 'clientKey', 'authority']
// The form asks for these in its own words.
const asked = ['nodeName']

// signInOf tells a driver that takes a token or a password.
export function signInOf(kind: HypervisorKind | undefined): 'choice' | undefined {
  const names = new Set((kind?.options ?? []).map((option) => option.name))
  return [...byToken, ...byPassword.slice(0, 2)].every((name) => names.has(name)) ? 'choice' : undefined
}

// fieldsOf draws a driver's options. Where there is a choice of how to sign in, the chosen way's fields are required.
export function fieldsOf(kind: HypervisorKind | undefined, by: 'token' | 'password' | undefined): Field[] {
  const hidden = by === 'token' ? byPassword : by === 'password' ? byToken : []
  const needed = by === 'token' ? byToken : by === 'password' ? byPassword.slice(0, 2) : []
  return (kind?.options ?? []).filter((option) => !hidden.includes(option.name) && !asked.includes(option.name)).map((option): Field => ({
    name: option.name, label: option.title, hint: option.help,
    type: files.includes(option.name) ? 'lines' : option.type === 'number' ? 'number' : option.type === 'secret' ? 'secret' : option.type === 'choice' ? 'choice' : option.type === 'bool' ? 'bool' : 'text',
    choices: option.choices.map((choice) => ({ value: choice, label: choice })),
    required: option.required || needed.includes(option.name), max: files.includes(option.name) ? 20_000 : option.type === 'number' ? 65_535 : 255,
  }))
}

// requestOf sorts what was filled in into the call's own fields and the driver's options.
export function requestOf(kind: string, fields: readonly Field[], values: Values): NodeRequest {
  const shown = new Set(fields.map((field) => field.name))
  const request: Record<string, unknown> = { nodeType: kind }
  const options: Record<string, string> = {}
  for (const [name, value] of Object.entries(values)) {
    if (own.includes(name)) request[name] = value
    else if (shown.has(name)) options[name] = String(value)
  }
  if (Object.keys(options).length > 0) request['options'] = options
  return request
}
