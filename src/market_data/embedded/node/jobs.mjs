// The background workers that the engine doesn't have: TimescaleDB's jobs, run when they are due.

import { EngineError } from './engine.mjs'
import { BASELINE, literal, SUPERUSER } from './settings.mjs'

const POLL_MS = 1000

// One that ended in the future is due as well: the clock was put back since.
const DUE = `
  SELECT j.id, r.rolname
  FROM _timescaledb_config.bgw_job j
  JOIN pg_catalog.pg_roles r ON r.oid = j.owner
  LEFT JOIN _timescaledb_internal.bgw_job_stat s ON s.job_id = j.id
  WHERE j.scheduled AND j.proc_name <> 'policy_telemetry'
    AND (
      coalesce(nullif(s.next_start, '-infinity'), j.initial_start, '-infinity') <= now()
      OR s.last_finish > now() + INTERVAL '1 minute'
    )
  ORDER BY s.next_start NULLS FIRST, j.id`

// What the scheduler of a server records at a run's end. A run that succeeds starts again an interval later (on a
// fixed schedule: at the next multiple from initial_start); one that fails after retry_period, doubled with each
// failure in a row, up to five intervals.
const RECORD = (job, started, succeeded) => `
  INSERT INTO _timescaledb_internal.bgw_job_stat AS s
    (job_id, last_start, last_finish, next_start, last_successful_finish, last_run_success, total_runs,
     total_duration, total_duration_failures, total_successes, total_failures, total_crashes,
     consecutive_failures, consecutive_crashes, flags)
  SELECT id, started, now(), CASE WHEN ok THEN following ELSE now() + retry_period END,
    CASE WHEN ok THEN now() ELSE '-infinity' END, ok, 1, CASE WHEN ok THEN now() - started ELSE '0' END,
    CASE WHEN ok THEN '0' ELSE now() - started END, ok::int, (NOT ok)::int, 0, (NOT ok)::int, 0, 0
  FROM (
    SELECT *, ${succeeded} AS ok, ${literal(started)}::timestamptz AS started,
      CASE WHEN fixed_schedule AND initial_start IS NOT NULL
        THEN schedule_interval + CASE WHEN timezone IS NULL
          THEN public.time_bucket(schedule_interval, now(), initial_start)
          ELSE public.time_bucket(schedule_interval, now(), timezone, initial_start) END
        ELSE now() + schedule_interval END AS following
    FROM _timescaledb_config.bgw_job WHERE id = ${job}
  ) j
  ON CONFLICT (job_id) DO UPDATE SET
    last_start = excluded.last_start, last_finish = excluded.last_finish,
    last_run_success = excluded.last_run_success,
    last_successful_finish =
      CASE WHEN ${succeeded} THEN excluded.last_finish ELSE s.last_successful_finish END,
    next_start = CASE WHEN ${succeeded} THEN excluded.next_start ELSE now() + (
      SELECT least(retry_period * power(2, least(s.consecutive_failures, 20)), schedule_interval * 5)
      FROM _timescaledb_config.bgw_job WHERE id = ${job}) END,
    total_runs = s.total_runs + 1,
    total_duration = s.total_duration + excluded.total_duration,
    total_duration_failures = s.total_duration_failures + excluded.total_duration_failures,
    total_successes = s.total_successes + excluded.total_successes,
    total_failures = s.total_failures + excluded.total_failures,
    consecutive_failures = CASE WHEN ${succeeded} THEN 0 ELSE s.consecutive_failures + 1 END`

// As on a server: a job that has failed max_retries times in a row is not tried any more.
const GIVE_UP = (job) => `
  UPDATE _timescaledb_config.bgw_job j SET scheduled = false
  FROM _timescaledb_internal.bgw_job_stat s
  WHERE j.id = ${job} AND s.job_id = j.id AND j.max_retries >= 0 AND s.consecutive_failures > j.max_retries
  RETURNING j.id`

export class Jobs {
  #bridge
  #failing = new Map()
  #stopped = false

  constructor(bridge) {
    this.#bridge = bridge
    this.#later()
  }

  stop() {
    this.#stopped = true
  }

  #later() {
    if (!this.#stopped) setTimeout(() => this.#poll(), POLL_MS).unref()
  }

  async #poll() {
    const { turns } = this.#bridge
    try {
      const due = await turns.task(() => this.#asSuperuser(DUE))
      // One a turn: clients get theirs in between.
      for (const [job, owner] of due) if (!this.#stopped) await turns.task(() => this.#run(job, owner))
      this.#report('the job list', null)
    } catch (error) {
      if (!(error instanceof EngineError)) throw error
      this.#report('the job list', error.message)
    }
    this.#later()
  }

  #asSuperuser(sql) {
    const { engine, settings } = this.#bridge
    settings.switchTo({ user: SUPERUSER, role: 'none', settings: BASELINE })
    return engine.query(sql)
  }

  #run(job, owner) {
    const { engine, settings } = this.#bridge
    const [[started]] = this.#asSuperuser('SELECT clock_timestamp()')
    let failure = null
    try {
      settings.switchTo({ user: owner, role: 'none', settings: BASELINE })
      engine.query(`CALL public.run_job(${job})`)
    } catch (error) {
      if (!(error instanceof EngineError)) throw error
      failure = error.message
    }
    settings.read()
    this.#asSuperuser(RECORD(job, started, failure === null))
    this.#report(`job ${job}`, failure)
    if (failure !== null && this.#asSuperuser(GIVE_UP(job)).length) {
      this.#bridge.log(`job ${job} is not scheduled any more: it has used up its retries`)
    }
  }

  // Once for each change of state.
  #report(what, failure) {
    const { log } = this.#bridge
    if (failure === null) {
      if (this.#failing.delete(what)) log(`${what} works again`)
    } else {
      if (this.#failing.get(what) !== failure) log(`${what} failed: ${failure}`)
      this.#failing.set(what, failure)
    }
  }
}
