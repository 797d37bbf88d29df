// What autovacuum does on a server. Tables that have grown are analyzed, without which the planner would know nothing of them,
// and approximate_row_count() would answer 0 for ever. Those outside of hypertables lose rows as well, all the time
// (stale_ranges, the tables of the stream): to vacuum them lets the room be used again.

import { EngineError } from './engine.mjs'
import { BASELINE, SUPERUSER } from './settings.mjs'

const POLL_MS = 10_000

// By a fifth since they were last looked at. One at a time, for nobody else is served meanwhile.
const GROWN = `
  SELECT format(
    '%s %I.%I',
    CASE WHEN n.nspname = 'public' THEN 'VACUUM (ANALYZE)' ELSE 'ANALYZE' END,
    n.nspname,
    c.relname
  )
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'r' AND n.nspname !~ '^(pg_|information_schema)'
    AND pg_catalog.pg_relation_size(c.oid) / current_setting('block_size')::int > 1.2 * c.relpages + 4
  ORDER BY pg_catalog.pg_relation_size(c.oid) DESC
  LIMIT 1`

export class Autovacuum {
  #bridge

  constructor(bridge) {
    this.#bridge = bridge
    setInterval(() => this.#bridge.turns.task(() => this.#look()), POLL_MS).unref()
  }

  #look() {
    const { engine, settings, log } = this.#bridge
    settings.switchTo({ user: SUPERUSER, role: 'none', settings: BASELINE })
    try {
      for (const [statement] of engine.query(GROWN)) engine.query(statement)
    } catch (error) {
      if (!(error instanceof EngineError)) throw error
      log(`a table can't be vacuumed or analyzed: ${error.message}`)
    }
  }
}
