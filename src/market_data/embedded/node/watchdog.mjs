// A thread that ends the process when its owner is gone and it doesn't end by itself.

import { workerData as owner } from 'node:worker_threads'

const POLL_MS = 1000
const GRACE_MS = 15_000

setInterval(() => {
  if (process.ppid !== owner) setTimeout(() => process.kill(process.pid, 'SIGKILL'), GRACE_MS)
}, POLL_MS)
