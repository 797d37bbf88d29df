// The start-up message of a connection: user, database and settings.

import { DATABASE, EngineError } from './engine.mjs'
import { isSupportedEncoding, literal, SESSION_DEFAULTS, setConfig } from './settings.mjs'
import { int32, message, readString } from './wire.mjs'

export const SSL_REQUEST = 80877103
export const GSS_REQUEST = 80877104
export const CANCEL_REQUEST = 80877102
const MAJOR_VERSION = 3
const MINOR_VERSION = 0

/** A connection is refused: SQLSTATE, message and hint of a FATAL error. */
export class ConnectionRefused extends Error {
  constructor(code, text, hint) {
    super(text)
    this.code = code
    this.hint = hint
  }
}

/**
 * Parse a start-up message into `{ user, settings, negotiation }`. The last is the NegotiateProtocolVersion to send if
 * the client asks for a newer protocol than 3.0, else null. Throws ConnectionRefused.
 */
export function parseStartup(body) {
  const version = body.readInt32BE(0)
  const [major, minor] = [version >> 16, version & 0xffff]
  if (major !== MAJOR_VERSION) {
    throw new ConnectionRefused('0A000', `unsupported frontend protocol ${major}.${minor}: server supports 3.0 to 3.0`)
  }
  const parameters = new Map()
  for (let at = 4; at < body.length && body[at] !== 0; ) {
    let name, value
    ;[name, at] = readString(body, at)
    ;[value, at] = readString(body, at)
    parameters.set(name, value)
  }
  const unknown = [...parameters.keys()].filter((name) => name.startsWith('_pq_.'))
  for (const name of unknown) parameters.delete(name)
  const negotiation =
    minor > MINOR_VERSION || unknown.length
      ? message('v', int32(MINOR_VERSION), int32(unknown.length), ...unknown)
      : null
  return { ...checkParameters(parameters), negotiation }
}

function checkParameters(parameters) {
  const user = parameters.get('user')
  if (!user) throw new ConnectionRefused('28000', 'no PostgreSQL user name specified in startup packet')
  const database = parameters.get('database') ?? user
  if (database !== DATABASE) {
    throw new ConnectionRefused(
      '3D000',
      `database "${database}" does not exist`,
      `The only database of the embedded engine is "${DATABASE}".`,
    )
  }
  if (!['false', 'off', 'no', '0', undefined].includes(parameters.get('replication'))) {
    throw new ConnectionRefused('0A000', 'the embedded engine does not support replication: omit "replication"')
  }
  const settings = parseOptions(parameters.get('options') ?? '')
  for (const [name, value] of parameters) {
    if (!['user', 'database', 'replication', 'options'].includes(name)) settings.push([name, value])
  }
  const encoding = settings.findLast(([name]) => name.toLowerCase() === 'client_encoding')?.[1]
  if (encoding && !isSupportedEncoding(encoding)) {
    throw new ConnectionRefused(
      '0A000',
      `client_encoding "${encoding}" is not available in the embedded engine: use UTF8`,
    )
  }
  return { user, settings }
}

/**
 * Parse the `options` of a start-up message as PostgreSQL does: words separated by spaces, which a backslash escapes;
 * `-c name=value` and `--name=value`.
 */
function parseOptions(text) {
  const words = (text.match(/(?:\\.|[^\s\\])+/gs) ?? []).map((word) => word.replace(/\\(.)/gs, '$1'))
  const settings = []
  while (words.length) {
    const word = words.shift()
    let assignment
    if (word === '-c') assignment = words.shift()
    else if (word.startsWith('-c') || word.startsWith('--')) assignment = word.slice(2)
    const at = assignment?.indexOf('=') ?? -1
    if (at < 1) throw new ConnectionRefused('42601', `invalid command-line argument for server process: ${word}`)
    settings.push([assignment.slice(0, at).replaceAll('-', '_'), assignment.slice(at + 1)])
  }
  return settings
}

// Settings of ALTER ROLE … SET and ALTER DATABASE … SET, the more specific last. The engine, a single-user backend, does
// not apply them by itself.
const SELECT_LOGIN_ROLE = (user) => `
  SELECT r.rolcanlogin, r.rolsuper, s.configuration
  FROM pg_catalog.pg_roles r
  LEFT JOIN LATERAL (
    SELECT string_agg(item, E'\\x01' ORDER BY d.setrole <> 0, d.setdatabase <> 0) AS configuration
    FROM pg_catalog.pg_db_role_setting d, unnest(d.setconfig) AS item
    WHERE d.setrole IN (0, r.oid)
      AND d.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
  ) s ON true
  WHERE r.rolname = ${literal(user)}`

/**
 * Switch the engine's session to a new connection of `user`. Returns `{ superuser, state, reported }`. Throws
 * ConnectionRefused.
 */
export function logIn({ engine, settings }, user, requested) {
  settings.switchToSuperuser()
  const [row] = engine.query(SELECT_LOGIN_ROLE(user))
  if (!row) throw new ConnectionRefused('28000', `role "${user}" does not exist`)
  const [canLogIn, superuser, configuration] = row
  if (canLogIn !== 't') throw new ConnectionRefused('28000', `role "${user}" is not permitted to log in`)
  const roleSettings = (configuration?.split('\x01') ?? []).map((item) => {
    const at = item.indexOf('=')
    return [item.slice(0, at), item.slice(at + 1)]
  })
  settings.switchTo({ user, role: 'none', settings: new Map([...SESSION_DEFAULTS, ...roleSettings]) })
  try {
    for (const [name, value] of requested) {
      engine.query(setConfig(name, value))
      if (name.includes('.')) settings.rememberCustom([name])
    }
  } catch (error) {
    settings.read()
    throw error instanceof EngineError ? new ConnectionRefused(error.code, error.message) : error
  }
  return { superuser: superuser === 't', state: settings.read(), reported: settings.reported() }
}
