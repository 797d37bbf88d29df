// The start-up message: who connects, to what, with which settings.

import { DATABASE, EngineError } from './engine.mjs'
import { BASELINE, isEncoding, literal, setting, startupOptions, SUPERUSER } from './settings.mjs'
import { cString, int32, message } from './wire.mjs'

export const SSL_REQUEST = 80877103
export const GSS_REQUEST = 80877104
export const CANCEL_REQUEST = 80877102
const MAJOR = 3
const MINOR = 0

/** The connection is refused: an SQLSTATE and a message for a FATAL error. */
export class Refusal extends Error {
  constructor(code, text, hint) {
    super(text)
    this.code = code
    this.hint = hint
  }
}

/**
 * Reads a start-up message: `{ user, settings, negotiation }`, the last a NegotiateProtocolVersion to send if the
 * client asked for a newer protocol than 3.0. Throws Refusal.
 */
export function readStartup(body) {
  const version = body.readInt32BE(0)
  const [major, minor] = [version >> 16, version & 0xffff]
  if (major !== MAJOR) {
    throw new Refusal('0A000', `unsupported frontend protocol ${major}.${minor}: server supports 3.0 to 3.0`)
  }
  const parameters = new Map()
  for (let at = 4; at < body.length && body[at] !== 0; ) {
    let name, value
    ;[name, at] = cString(body, at)
    ;[value, at] = cString(body, at)
    parameters.set(name, value)
  }
  const unknown = [...parameters.keys()].filter((name) => name.startsWith('_pq_.'))
  for (const name of unknown) parameters.delete(name)
  return {
    ...accept(parameters),
    negotiation:
      minor > MINOR || unknown.length
        ? message('v', int32(MINOR), int32(unknown.length), ...unknown)
        : null,
  }
}

function accept(parameters) {
  const user = parameters.get('user')
  if (!user) throw new Refusal('28000', 'no PostgreSQL user name specified in startup packet')
  const database = parameters.get('database') ?? user
  if (database !== DATABASE) {
    throw new Refusal(
      '3D000',
      `database "${database}" does not exist`,
      `The embedded engine serves one database, "${DATABASE}".`,
    )
  }
  if (!['false', 'off', 'no', '0', undefined].includes(parameters.get('replication'))) {
    throw new Refusal('0A000', 'the embedded engine has no replication')
  }
  let settings
  try {
    settings = startupOptions(parameters.get('options') ?? '')
  } catch (error) {
    throw new Refusal('42601', error.message)
  }
  for (const [name, value] of parameters) {
    if (!['user', 'database', 'replication', 'options'].includes(name)) settings.push([name, value])
  }
  const encoding = settings.findLast(([name]) => name.toLowerCase() === 'client_encoding')?.[1]
  if (encoding && !isEncoding(encoding)) {
    throw new Refusal('0A000', `client_encoding "${encoding}" is not available in the embedded engine: use UTF8`)
  }
  return { user, settings }
}

// What ALTER ROLE and ALTER DATABASE … SET say, the more specific last. The engine, a single-user backend,
// doesn't apply it by itself.
const ROLE = (user) => `
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
 * Makes the engine's session be that of a new connection of `user`, and returns `{ superuser, state, reported }`.
 * Throws Refusal.
 */
export function logIn({ engine, settings }, user, wanted) {
  settings.switchTo({ user: SUPERUSER, role: 'none', settings: BASELINE })
  const [role] = engine.query(ROLE(user))
  if (!role) throw new Refusal('28000', `role "${user}" does not exist`)
  const [canLogIn, superuser, configuration] = role
  if (canLogIn !== 't') throw new Refusal('28000', `role "${user}" is not permitted to log in`)
  const ofRole = (configuration?.split('\x01') ?? []).map((item) => {
    const at = item.indexOf('=')
    return [item.slice(0, at), item.slice(at + 1)]
  })
  settings.switchTo({ user, role: 'none', settings: new Map([...BASELINE, ...ofRole]) })
  try {
    for (const pair of wanted) {
      engine.query(`SELECT ${setting(pair)}`)
      if (pair[0].includes('.')) settings.notice([pair[0]])
    }
  } catch (error) {
    settings.read()
    throw error instanceof EngineError ? new Refusal(error.code, error.message) : error
  }
  return { superuser: superuser === 't', state: settings.read(), reported: settings.report() }
}
