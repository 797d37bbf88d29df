// Settings and role of each connection, on an engine whose one session all connections share.
//
// A state is { user, role, settings }: the session user, the SET ROLE role, and every setting that differs from the
// engine's command line. The engine is switched between states before an exchange, only in what differs.

import { EngineError } from './engine.mjs'

const SUPERUSER = 'postgres'

// Defaults of a new session on a server, if the engine's command line or PGlite says otherwise, and settings for what
// has no effect or use without a server process (parallel workers, compiled expressions, a server log).
export const SESSION_DEFAULTS = new Map(
  Object.entries({
    allow_system_table_mods: 'off',
    client_min_messages: 'notice',
    enable_seqscan: 'on',
    exit_on_error: 'off',
    // A client that is idle in a transaction blocks all others.
    idle_in_transaction_session_timeout: '15000',
    jit: 'off',
    log_min_error_statement: 'panic',
    log_min_messages: 'fatal',
    max_parallel_workers_per_gather: '0',
    // As timescaledb-tune sets it in the official image: data lies in memory or on an SSD. With 4, pages of the 5-minute
    // candles of a long range are sorted (5 ms) instead of read in order (0.1 ms).
    random_page_cost: '1.1',
    search_path: '"$user", public',
    // TimescaleDB 2.23 recompresses only the batches that late trades fall into, by the bounds of each column of the order on
    // its own: batches overlap afterwards, rows come in the wrong order, and pages lack some. Recompress whole chunks.
    'timescaledb.enable_segmentwise_recompression': 'off',
    TimeZone: 'UTC',
  }),
)

const SUPERUSER_STATE = { user: SUPERUSER, role: 'none', settings: SESSION_DEFAULTS }

// Settings that PostgreSQL reports to clients (GUC_REPORT in guc_tables.c). The engine does not report any.
const REPORTED = [
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

const SELECT_REPORTED = `SELECT ${REPORTED.map((name) => `current_setting('${name}')`).join(', ')}`
const SELECT_CHANGED =
  "SELECT name, setting FROM pg_catalog.pg_settings WHERE source = 'session' AND name NOT LIKE 'transaction\\_%'"
const SELECT_ROLE = "SELECT session_user, current_setting('role')"

export const literal = (text) => ` E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
export const identifier = (name) => `"${name.replaceAll('"', '""')}"`
/** True if the engine supports this client encoding. Loading a conversion library ends the engine's process. */
export const isSupportedEncoding = (name) =>
  /^(?:utf8|unicode|sqlascii|default)$/.test(name.replace(/[^A-Za-z0-9]/g, '').toLowerCase())
export const setConfig = (name, value) => `SELECT set_config(${literal(name)},${literal(value)}, false)`

const authorize = (user) => `SET SESSION AUTHORIZATION ${identifier(user)}`
const qualified = (name) => name.split('.').map(identifier).join('.')

export class Settings {
  #engine
  #log
  #current
  // Undeclared settings of the form `SET my.name = …` are in no catalog: their names are collected as clients use them.
  #custom = new Set()

  constructor(engine, log) {
    this.#engine = engine
    this.#log = log
    this.read()
  }

  /** Last known state of the engine's session. */
  get current() {
    return this.#current
  }

  switchToSuperuser() {
    this.switchTo(SUPERUSER_STATE)
  }

  /** Switch the engine's session to `target`. A setting that can't be restored is logged, not raised. */
  switchTo(target) {
    const now = this.#current
    if (now === target) return
    const changes = [...target.settings].filter(([name, value]) => now.settings.get(name) !== value)
    const resets = [...now.settings.keys()].filter((name) => !target.settings.has(name))
    const sameRole = now.user === target.user && now.role === target.role
    if (!sameRole || changes.length || resets.length) {
      const steps = []
      // Not RESET SESSION AUTHORIZATION: it doesn't return to the superuser here. This resets the role as well.
      if (now.user !== SUPERUSER || now.role !== 'none') steps.push(authorize(SUPERUSER))
      // An undeclared setting can't be removed: RESET sets it to the empty string, and so does this.
      for (const name of resets) steps.push(this.#custom.has(name) ? setConfig(name, '') : `RESET ${qualified(name)}`)
      for (const [name, value] of changes) steps.push(setConfig(name, value))
      this.#run(steps)
      if (target.user !== SUPERUSER) this.#engine.query(authorize(target.user))
      if (target.role !== 'none') this.#run([`SET ROLE ${identifier(target.role)}`])
    }
    this.#current = target
  }

  /** Read the state from the engine's session. */
  read() {
    const settings = new Map(this.#engine.query(SELECT_CHANGED))
    for (const name of this.#custom) {
      const [[value]] = this.#engine.query(`SELECT current_setting(${literal(name)}, true)`)
      if (value) settings.set(name, value)
    }
    const [[user, role]] = this.#engine.query(SELECT_ROLE)
    this.#current = { user, role, settings }
    return this.#current
  }

  /** Return the values that PostgreSQL reports to clients, by name. */
  reported() {
    const [values] = this.#engine.query(SELECT_REPORTED)
    return new Map(REPORTED.map((name, at) => [name, values[at]]))
  }

  /** Remember which of the names are undeclared settings. Most candidates are just dotted words of a query. */
  rememberCustom(names) {
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
        this.#log(`restoring a setting failed: ${error.message}`)
        return
      }
      for (const step of steps) this.#run([step])
    }
  }
}
