import { afterAll, afterEach, beforeAll, describe } from 'vitest'
import { keys } from './keys'
import { consoles, failingCreate, reinstall } from './machine'
import { everyPage, stock } from './pages'
import { close, open, type Scene } from './scene'
import { session, switches } from './views'
import { wizard } from './wizard'

let shared: Scene | undefined

function scene(): Scene {
  if (shared === undefined) throw new Error('the demo did not start')
  return shared
}

describe('the panel', () => {
  beforeAll(async () => {
    shared = await open()
  })
  afterAll(async () => {
    if (shared !== undefined) await close(shared)
  })
  // What the window shows where a test failed says more than the error.
  afterEach(async (context) => {
    if (context.task.result?.state !== 'fail' || shared === undefined) return
    await shared.view.picture(`failed-${context.task.name.replaceAll(/\W+/g, '-').slice(0, 60)}`)
    console.error(shared.demo.logs())
  })

  wizard(scene)
  consoles(scene)
  failingCreate(scene)
  keys(scene)
  switches(scene)
  reinstall(scene)
  session(scene)
  stock(scene)
  everyPage(scene)
})
