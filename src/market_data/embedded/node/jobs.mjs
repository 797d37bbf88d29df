// A substitute for TimescaleDB's background workers, which the engine does not have: runs each job when it is due.

import { EngineError } from './engine.mjs'
import { literal, SESSION_DEFAULTS } from './settings.mjs'

const POLL_MS = 1000
// After a run, because a job that has not finished its work asks to be started again soon.
const POLL_AFTER_RUN_MS = 250

// A job whose last run ended in the future is due as well: the clock has been set back since.
const DUE_JOBS = `
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

const FORGET_NEXT_START = (job) => `
  UPDATE _timescaledb_internal.bgw_job_stat SET next_start = '-infinity' WHERE job_id = ${job}`

// Statistics and next start as TimescaleDB's scheduler records them after a run. After a success the job starts again at the
// next_start that it has set itself, or else one interval later (on a fixed schedule: at the next multiple from initial_start).
// After a failure it starts again after retry_period, which doubles with each consecutive failure, up to five intervals.
const RECORD_RUN = (job, started, succeeded) => `
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
    next_start = CASE WHEN ${succeeded} THEN coalesce(nullif(s.next_start, '-infinity'), excluded.next_start) ELSE now() + (
      SELECT least(retry_period * power(2, least(s.consecutive_failures, 20)), schedule_interval * 5)
      FROM _timescaledb_config.bgw_job WHERE id = ${job}) END,
    total_runs = s.total_runs + 1,
    total_duration = s.total_duration + excluded.total_duration,
    total_duration_failures = s.total_duration_failures + excluded.total_duration_failures,
    total_successes = s.total_successes + excluded.total_successes,
    total_failures = s.total_failures + excluded.total_failures,
    consecutive_failures = CASE WHEN ${succeeded} THEN 0 ELSE s.consecutive_failures + 1 END`

// As on a server, a job that has used up its max_retries is unscheduled.
const UNSCHEDULE_FAILED = (job) => `
  UPDATE _timescaledb_config.bgw_job j SET scheduled = false
  FROM _timescaledb_internal.bgw_job_stat s
  WHERE j.id = ${job} AND s.job_id = j.id AND j.max_retries >= 0 AND s.consecutive_failures > j.max_retries
  RETURNING j.id`

export class Jobs {
  #server
  #failures = new Map()
  #stopped = false

  constructor(server) {
    this.#server = server
    this.#pollLater()
  }

  stop() {
    this.#stopped = true
  }

  #pollLater(ms = POLL_MS) {
    if (!this.#stopped) setTimeout(() => this.#poll(), ms).unref()
  }

  async #poll() {
    const { scheduler } = this.#server
    let due = []
    try {
      due = await scheduler.runExclusively(() => this.#queryAsSuperuser(DUE_JOBS))
      for (const [job, owner] of due) {
        // One job a turn, so that clients get turns in between.
        if (!this.#stopped) await scheduler.runExclusively(() => this.#run(job, owner))
      }
      this.#logChange('job list', null)
    } catch (error) {
      if (!(error instanceof EngineError)) throw error
      this.#logChange('job list', error.message)
    }
    this.#pollLater(due.length ? POLL_AFTER_RUN_MS : POLL_MS)
  }

  #queryAsSuperuser(sql) {
    const { engine, settings } = this.#server
    settings.switchToSuperuser()
    return engine.query(sql)
  }

  #run(job, owner) {
    const { engine, settings, log } = this.#server
    const [[started]] = this.#queryAsSuperuser('SELECT clock_timestamp()')
    this.#queryAsSuperuser(FORGET_NEXT_START(job))
    let failure = null
    try {
      settings.switchTo({ user: owner, role: 'none', settings: SESSION_DEFAULTS })
      engine.query(`CALL public.run_job(${job})`)
    } catch (error) {
      if (!(error instanceof EngineError)) throw error
      failure = error.message
    }
    settings.read()
    this.#queryAsSuperuser(RECORD_RUN(job, started, failure === null))
    this.#logChange(`job ${job}`, failure)
    if (failure !== null && this.#queryAsSuperuser(UNSCHEDULE_FAILED(job)).length) {
      log(`job ${job} unscheduled: it has used up its max_retries`)
    }
  }

  // A job that keeps failing with the same message is logged once.
  #logChange(subject, failure) {
    const { log } = this.#server
    if (failure === null) {
      if (this.#failures.delete(subject)) log(`${subject} recovered`)
    } else {
      if (this.#failures.get(subject) !== failure) log(`${subject} failed: ${failure}`)
      this.#failures.set(subject, failure)
    }
  }
}
