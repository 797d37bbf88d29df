// What autovacuum does for the planner on a server: tables that have grown are analyzed. Without it the engine would
// know nothing of its tables, and approximate_row_count() would answer 0 for ever.

import { EngineError } from './engine.mjs'
import { BASELINE, SUPERUSER } from './settings.mjs'

const POLL_MS = 10_000

// By a fifth since they were last looked at. One at a time, for nobody else is served meanwhile.
const GROWN = `
  SELECT format('%I.%I', n.nspname, c.relname)
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'r' AND n.nspname !~ '^(pg_|information_schema)'
    AND pg_catalog.pg_relation_size(c.oid) / current_setting('block_size')::int > 1.2 * c.relpages + 4
  ORDER BY pg_catalog.pg_relation_size(c.oid) DESC
  LIMIT 1`

export class Statistics {
  #bridge

  constructor(bridge) {
    this.#bridge = bridge
    setInterval(() => this.#bridge.turns.task(() => this.#analyze()), POLL_MS).unref()
  }

  #analyze() {
    const { engine, settings, log } = this.#bridge
    settings.switchTo({ user: SUPERUSER, role: 'none', settings: BASELINE })
    try {
      for (const [table] of engine.query(GROWN)) engine.query(`ANALYZE ${table}`)
    } catch (error) {
      if (!(error instanceof EngineError)) throw error
      log(`a table can't be analyzed: ${error.message}`)
    }
  }
}
