// One exchange of a connection with the engine: all messages up to a Sync or a Flush, or one simple query, and their
// responses. The messages are translated and executed; the output is filtered for the client.

import { CopyIn } from './copy_in.mjs'
import { message, messages, readString, sync } from './wire.mjs'

// Commands after which settings may have changed. (set_config() is detected in the text: prepared_statements.mjs.)
const SETTING_TAG = /^(?:SET|RESET|DO|CALL)$/
// Responses that the client has received when the COPY began: ParseComplete to CopyInResponse.
const COPY_PREAMBLE = '12nG'

/** Effects of the messages since the last ReadyForQuery, to be applied with the next. */
export class PendingEffects {
  channels = []
  customNames = []
  closesAll = false
  discardsAll = false
  settingsChanged = false
  failed = false
  /** Tag of the last completed command. */
  lastTag = ''

  add(translation) {
    this.channels.push(...translation.channels)
    this.customNames.push(...translation.customNames)
    this.closesAll ||= translation.closesAll
    this.discardsAll ||= translation.discardsAll
    this.settingsChanged ||= translation.mayChangeSettings
  }
}

/** Run an exchange. Returns a CopyIn if it is a COPY FROM STDIN that waits for the client's data, else null. */
export function runExchange(server, session, frames) {
  const translation = session.statements.translate(frames)
  if (translation.copyIn && session.status !== 'E' && !session.unfinished) {
    return beginCopy(server, session, frames, translation)
  }
  const output = execute(server.engine, translation.frames)
  respond(server, session, output, translation, server.engine.copyDataMissing ? 'G' : '')
  return null
}

function execute(engine, frames) {
  const output = engine.execute(frames)
  // A COPY that waits for data has ignored the Sync at the end.
  if (!engine.copyDataMissing || frames.at(-1)[0] !== sync[0]) return output
  const ending = engine.execute([sync])
  engine.copyDataMissing = true
  return Buffer.concat([output, ending])
}

/** Run a COPY FROM STDIN with its data. */
export function finishCopy(server, session, copy) {
  const translation = session.statements.translate(copy.frames)
  const output = server.engine.execute([...translation.frames, ...copy.data])
  respond(server, session, output, translation, COPY_PREAMBLE)
}

// The client may send data only after a CopyInResponse, which only the engine can create, and the engine needs all data
// at once. So the COPY is first run without data. That fails and changes nothing, but yields the response, or the error
// in the statement.
function beginCopy(server, session, frames, translation) {
  const { engine } = server
  const inTransaction = session.status === 'T'
  if (inTransaction) engine.query('SAVEPOINT "@copy"')
  const output = execute(engine, translation.frames)
  if (!engine.copyDataMissing) {
    respond(server, session, output, translation, '')
    return null
  }
  if (inTransaction) engine.query('ROLLBACK TO "@copy"; RELEASE "@copy"')
  const preamble = []
  let parses = 0
  for (const { type, start, end } of messages(output)) {
    if (type !== '1' || !translation.hiddenParses.includes(parses++)) preamble.push(output.subarray(start, end))
    if (type === 'G') break
  }
  session.writer.send(preamble)
  return new CopyIn(frames)
}

// Sends the client its part of the output, without messages of the `dropped` types, and applies the effects.
function respond(server, session, output, translation, dropped) {
  const { effects } = session
  effects.add(translation)
  const { kept, ready } = filterOutput(server, session, output, translation, dropped)
  session.unfinished = !ready
  if (ready) {
    session.status = String.fromCharCode(ready[5])
    session.effects = new PendingEffects()
    kept.push(...applyEffects(server, session, effects))
    if (session.status === 'I') kept.push(...session.writer.drainNotifications())
    kept.push(ready)
  }
  session.writer.send(kept)
}

// Returns the parts of the output for the client, and the ReadyForQuery if there is one.
function filterOutput({ channels }, { effects, statements, pid }, output, translation, dropped) {
  const kept = []
  const tags = [...translation.tags]
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
      channels.route(body, pid)
      replace(start, end)
    } else if (type === 'Z') {
      ready = output.subarray(start, end)
      replace(start, end)
    } else if (dropped.includes(type) || (type === '1' && translation.hiddenParses.includes(parses++))) {
      replace(start, end)
    } else if (type === 'C') {
      const [tag] = readString(body, 0)
      effects.lastTag = tag
      effects.settingsChanged ||= SETTING_TAG.test(tag)
      const original = tag === 'UNLISTEN' ? tags.shift() : tag
      if (original && original !== tag) replace(start, end, message('C', original))
    } else if (type === 'E') {
      effects.failed = true
      const restored = statements.restoreNames(body)
      if (restored) replace(start, end, message('E', Buffer.from(restored, 'latin1')))
    }
  }
  kept.push(output.subarray(from))
  return { kept, ready }
}

// Applies the effects on the connection. Returns the ParameterStatus messages for the client.
function applyEffects({ settings, channels, engine }, session, effects) {
  const { failed } = effects
  if (!failed) session.listens.push(...effects.channels)
  if (session.status === 'I') {
    const listens = session.listens.splice(0)
    if (!failed && effects.lastTag !== 'ROLLBACK') channels.apply(session, listens)
    if (channels.hasUnused) channels.unlistenUnused(engine)
  }
  if (effects.closesAll && !failed) engine.execute([...session.statements.closeAll(), sync])
  for (const name of effects.customNames) session.customNames.add(name)
  session.stateOutdated ||= effects.settingsChanged || effects.discardsAll
  if (!session.stateOutdated || session.status === 'E') return []
  if (effects.discardsAll && !failed) {
    settings.read()
    settings.switchTo(session.initialState)
  }
  settings.rememberCustom(session.customNames)
  session.customNames.clear()
  const state = settings.read()
  if (!session.superuser && state.user !== session.user) {
    settings.switchTo({ ...state, user: session.user, role: 'none' })
  }
  // RESET returns to the engine's command line; a connection's defaults are those at its start.
  const lost = [...session.initialState.settings].filter(([name]) => !state.settings.has(name))
  if (lost.length) settings.switchTo({ ...state, settings: new Map([...state.settings, ...lost]) })
  if (session.status === 'I') {
    session.state = settings.current
    session.stateOutdated = false
  }
  session.updateIdleTimeout(settings.current)
  return session.writer.changedParameters(settings.reported())
}
