// One turn of a connection on the engine: its messages are translated and run, and the answer is sorted.

import { CopyIn } from './copyin.mjs'
import { cString, message, messages, sync } from './wire.mjs'

// Commands after which settings may be others than before. (set_config() is known by its text: names.mjs.)
const SETTING_TAG = /^(?:SET|RESET|DO|CALL)$/
// The answers to the messages around a COPY's data that the client has had when the COPY began.
const COPY_PREAMBLE = '12nG'

/** What has happened since the last ReadyForQuery that is to be carried out with the next. */
export class Effects {
  channels = []
  custom = []
  closesAll = false
  discardAll = false
  /** Settings may be others than before. */
  dirty = false
  failed = false
  /** The last command that was completed. */
  last = ''

  /** Adds what a translated batch (names.mjs) concerns. */
  with(work) {
    this.channels.push(...work.channels)
    this.custom.push(...work.custom)
    this.closesAll ||= work.closesAll
    this.discardAll ||= work.discardAll
    this.dirty ||= work.opaque
    return this
  }
}

/** Runs a batch; returns a CopyIn if it is a COPY FROM STDIN that now waits for the client's data. */
export function runBatch(bridge, session, frames) {
  const work = session.names.translate(frames)
  if (work.copyIn && session.status !== 'E' && !session.unfinished) {
    return beginCopy(bridge, session, frames, work)
  }
  const { output, starved } = exchange(bridge.engine, work.frames)
  deliver(bridge, session, output, work, starved ? 'G' : '')
  return null
}

function exchange(engine, frames) {
  const output = engine.exchange(frames)
  if (!engine.starved) return { output, starved: false }
  // A COPY that waits for data takes a Sync for none of its business.
  const ending = frames.at(-1)[0] === sync[0] ? [engine.exchange([sync])] : []
  return { output: Buffer.concat([output, ...ending]), starved: true }
}

/** Runs a COPY FROM STDIN with all its data. */
export function finishCopy(bridge, session, copy) {
  const work = session.names.translate(copy.frames)
  const output = bridge.engine.exchange([...work.frames, ...copy.data])
  deliver(bridge, session, output, work, COPY_PREAMBLE)
}

// The client may send its data only after a CopyInResponse, which only the engine can make, while the engine needs
// all the data at once. So the COPY is run without data first, which fails and changes nothing, but gives that
// response, or tells at once what is wrong with the statement.
function beginCopy(bridge, session, frames, work) {
  const { engine } = bridge
  const inTransaction = session.status === 'T'
  if (inTransaction) engine.query('SAVEPOINT "@copy"')
  const { output, starved } = exchange(engine, work.frames)
  if (!starved) {
    deliver(bridge, session, output, work, '')
    return null
  }
  if (inTransaction) engine.query('ROLLBACK TO "@copy"; RELEASE "@copy"')
  const preamble = []
  let parses = 0
  for (const { type, start, end } of messages(output)) {
    if (type !== '1' || !work.parses.includes(parses++)) preamble.push(output.subarray(start, end))
    if (type === 'G') break
  }
  session.outbox.send(preamble)
  return new CopyIn(frames)
}

// Sends the client what is for it, and takes note of what the rest says. `dropped` are types of messages that are
// not for the client.
function deliver(bridge, session, output, work, dropped) {
  const kept = []
  const tags = [...work.tags]
  const effects = session.effects.with(work)
  let from = 0
  let parses = 0
  let ready = null
  const replace = (start, end, replacement) => {
    kept.push(output.subarray(from, start))
    if (replacement) kept.push(replacement)
    from = end
  }
  for (const { type, body, start, end } of messages(output)) {
    if (type === 'D') continue
    if (type === 'A') {
      bridge.channels.route(body, session.pid)
      replace(start, end)
    } else if (type === 'Z') {
      ready = output.subarray(start, end)
      replace(start, end)
    } else if (dropped.includes(type) || (type === '1' && work.parses.includes(parses++))) replace(start, end)
    else if (type === 'C') {
      const [tag] = cString(body, 0)
      effects.last = tag
      if (SETTING_TAG.test(tag)) effects.dirty = true
      const real = tag === 'UNLISTEN' ? tags.shift() : tag
      if (real && real !== tag) replace(start, end, message('C', real))
    } else if (type === 'E') {
      effects.failed = true
      const restored = session.names.restore(body)
      if (restored) replace(start, end, message('E', Buffer.from(restored, 'latin1')))
    }
  }
  kept.push(output.subarray(from))
  session.unfinished = !ready
  if (ready) {
    session.status = String.fromCharCode(ready[5])
    session.effects = new Effects()
    kept.push(...settle(bridge, session, effects))
    if (session.status === 'I') kept.push(...session.outbox.notifications())
    kept.push(ready)
  }
  session.outbox.send(kept)
}

// Carries out what a batch means for the connection; returns the ParameterStatus messages that are due.
function settle(bridge, session, effects) {
  const { settings, channels, engine } = bridge
  const { failed } = effects
  if (!failed) session.listens.push(...effects.channels)
  if (session.status === 'I') {
    const listens = session.listens.splice(0)
    if (!failed && effects.last !== 'ROLLBACK') channels.apply(session, listens)
    if (channels.stale) channels.sweep(engine)
  }
  if (effects.closesAll && !failed) engine.exchange([...session.names.closeAll(), sync])
  for (const name of effects.custom) session.custom.add(name)
  session.unsettled ||= effects.dirty || effects.discardAll
  if (!session.unsettled || session.status === 'E') return []
  if (effects.discardAll && !failed) {
    settings.read()
    settings.switchTo(session.initial)
  }
  settings.notice(session.custom)
  session.custom.clear()
  const state = settings.read()
  if (!session.superuser && state.user !== session.user) {
    settings.switchTo({ ...state, user: session.user, role: 'none' })
  }
  // RESET went to the engine's command line; a connection's defaults are what it started with.
  const lost = [...session.initial.settings].filter(([name]) => !state.settings.has(name))
  if (lost.length) settings.switchTo({ ...state, settings: new Map([...state.settings, ...lost]) })
  if (session.status === 'I') {
    session.state = settings.current
    session.unsettled = false
  }
  session.noteIdleLimit(settings.current)
  return session.outbox.parameters(settings.report())
}
