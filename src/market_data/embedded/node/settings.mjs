// Settings and role as belonging to a connection, on an engine that has one session for all.
//
// A state is { user, role, settings }: the session user, the SET ROLE role, and every setting that differs from
// the engine's command line. The engine is switched from one state to another where the two differ.

import { EngineError } from './engine.mjs'

export const SUPERUSER = 'postgres'

// What a fresh session of a real server has, where the engine's command line or PGlite says otherwise, and what
// makes no sense without a server around it (parallel workers, compiled expressions, a server log).
export const BASELINE = new Map(
  Object.entries({
    allow_system_table_mods: 'off',
    client_min_messages: 'notice',
    enable_seqscan: 'on',
    exit_on_error: 'off',
    // One client idling in a transaction blocks all others.
    idle_in_transaction_session_timeout: '15000',
    jit: 'off',
    log_min_error_statement: 'panic',
    log_min_messages: 'fatal',
    max_parallel_workers_per_gather: '0',
    search_path: '"$user", public',
    TimeZone: 'UTC',
  }),
)

// Those PostgreSQL reports to clients by itself (guc_tables.c: GUC_REPORT); the engine never does.
export const REPORTED = [
  'application_name',
  'client_encoding',
  'DateStyle',
  'default_transaction_read_only',
  'in_hot_standby',
  'integer_datetimes',
  'IntervalStyle',
  'is_superuser',
  'scram_iterations',
  'server_encoding',
  'server_version',
  'session_authorization',
  'standard_conforming_strings',
  'TimeZone',
]

const REPORT = `SELECT ${REPORTED.map((name) => `current_setting('${name}')`).join(', ')}`
const READ =
  "SELECT name, setting FROM pg_catalog.pg_settings WHERE source = 'session' AND name NOT LIKE 'transaction\\_%'"
const READ_ROLE = "SELECT session_user, current_setting('role')"

export const literal = (text) => ` E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
export const identifier = (name) => `"${name.replaceAll('"', '""')}"`
/** Whether the engine can talk in this encoding: its libraries for converting others end the process. */
export const isEncoding = (name) =>
  /^(?:utf8|unicode|sqlascii|default)$/.test(name.replace(/[^A-Za-z0-9]/g, '').toLowerCase())
export const setting = ([name, value]) => `set_config(${literal(name)},${literal(value)}, false)`

export class Settings {
  #engine
  #log
  #current = { user: SUPERUSER, role: 'none', settings: new Map() }
  // Settings of extensions that nobody declared (SET my.name = …) are in no catalog; these names were seen.
  #custom = new Set()

  constructor(engine, log) {
    this.#engine = engine
    this.#log = log
    this.#current = this.read()
  }

  /** The state the engine's session was last known to be in. */
  get current() {
    return this.#current
  }

  /** Makes the engine's session be in `target`; a setting that can't be restored is logged, not raised. */
  switchTo(target) {
    const now = this.#current
    if (now === target) return
    const changes = [...target.settings].filter(([name, value]) => now.settings.get(name) !== value)
    const resets = [...now.settings.keys()].filter((name) => !target.settings.has(name))
    const sameRole = now.user === target.user && now.role === target.role
    if (!sameRole || changes.length || resets.length) {
      const steps = []
      // Not RESET SESSION AUTHORIZATION: it doesn't return to the superuser here. It resets the role as well.
      if (now.user !== SUPERUSER || now.role !== 'none') steps.push(authorize(SUPERUSER))
      // An undeclared setting can't be reset to absence; to the empty string is what RESET does.
      for (const name of resets) {
        steps.push(this.#custom.has(name) ? `SELECT ${setting([name, ''])}` : `RESET ${qualified(name)}`)
      }
      for (const change of changes) steps.push(`SELECT ${setting(change)}`)
      this.#run(steps)
      if (target.user !== SUPERUSER) this.#engine.query(authorize(target.user))
      if (target.role !== 'none') this.#run([`SET ROLE ${identifier(target.role)}`])
    }
    this.#current = target
  }

  /** The state the engine's session is in now, read from it. */
  read() {
    const settings = new Map(this.#engine.query(READ))
    for (const name of this.#custom) {
      const [[value]] = this.#engine.query(`SELECT current_setting(${literal(name)}, true)`)
      if (value) settings.set(name, value)
    }
    const [[user, role]] = this.#engine.query(READ_ROLE)
    this.#current = { user, role, settings }
    return this.#current
  }

  /** The values PostgreSQL reports to clients, by name. */
  report() {
    const [values] = this.#engine.query(REPORT)
    return new Map(REPORTED.map((name, at) => [name, values[at]]))
  }

  /** Remembers those of the names (any dotted words, so many are none) that are undeclared settings. */
  notice(names) {
    for (const name of names) {
      if (this.#custom.has(name)) continue
      const [[value, declared]] = this.#engine.query(
        `SELECT current_setting(${literal(name)}, true),
          EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name = ${literal(name)})`,
      )
      if (value !== null && declared === 'f') this.#custom.add(name)
    }
  }

  #run(steps) {
    if (!steps.length) return
    try {
      this.#engine.query(steps.join('; '))
    } catch (error) {
      if (!(error instanceof EngineError) || steps.length === 1) {
        this.#log(`a setting could not be restored: ${error.message}`)
        return
      }
      for (const step of steps) this.#run([step])
    }
  }
}

const authorize = (user) => `SET SESSION AUTHORIZATION ${identifier(user)}`
const qualified = (name) => name.split('.').map(identifier).join('.')

/**
 * The `options` of a start-up message as PostgreSQL reads them: words cut at spaces that no backslash escapes;
 * `-c name=value` and `--name=value`. Throws an Error naming what can't be read.
 */
export function startupOptions(text) {
  const words = (text.match(/(?:\\.|[^\s\\])+/gs) ?? []).map((word) => word.replace(/\\(.)/gs, '$1'))
  const settings = []
  while (words.length) {
    const word = words.shift()
    let assignment
    if (word === '-c') assignment = words.shift()
    else if (word.startsWith('-c')) assignment = word.slice(2)
    else if (word.startsWith('--')) assignment = word.slice(2)
    const at = assignment?.indexOf('=') ?? -1
    if (at < 1) throw new Error(`invalid command-line argument for server process: ${word}`)
    settings.push([assignment.slice(0, at).replaceAll('-', '_'), assignment.slice(at + 1)])
  }
  return settings
}
