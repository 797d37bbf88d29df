// A substitute for autovacuum, which needs background workers. ANALYZE gives the planner statistics, and
// approximate_row_count() an answer other than 0. Tables outside of hypertables (stale_ranges, those of the stream) lose
// rows all the time: VACUUM lets their space be reused.

import { EngineError } from './engine.mjs'

const POLL_MS = 10_000

// A table that has grown by a fifth since its last ANALYZE. One a run, because other clients wait meanwhile.
const NEXT_STATEMENT = `
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

/** Vacuum or analyze tables that have grown, for as long as the process runs. */
export function startAutovacuum({ engine, settings, scheduler, log }) {
  const run = () => {
    settings.switchToSuperuser()
    try {
      for (const [statement] of engine.query(NEXT_STATEMENT)) engine.query(statement)
    } catch (error) {
      if (!(error instanceof EngineError)) throw error
      log(`vacuum or analyze failed: ${error.message}`)
    }
  }
  setInterval(() => scheduler.runExclusively(run), POLL_MS).unref()
}
