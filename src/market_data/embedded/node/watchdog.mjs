// A thread that kills the process if its parent has ended and the main thread, in a long statement, does not stop.

import { workerData as parent } from 'node:worker_threads'

const POLL_MS = 1000
const GRACE_MS = 15_000

setInterval(() => {
  if (process.ppid !== parent) setTimeout(() => process.kill(process.pid, 'SIGKILL'), GRACE_MS)
}, POLL_MS)
