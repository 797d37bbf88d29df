/** Requests to the service. */

import { glimpsed } from "./clock.js";
import { credentials, unlock } from "./key.js";

const PATIENCE_MS = 15_000;

/** What went wrong, in words for people. */
export class Problem extends Error {
  /** @param {number} status 0 where there was no answer. @param {string} detail @param {string} [requestId] */
  constructor(status, detail, requestId) {
    super(requestId ? `${detail} (request ${requestId})` : detail);
    this.status = status;
  }
}

/**
 * The JSON that the service answers.
 * @param {string} path
 * @param {Record<string, string | number>} [parameters]
 * @param {AbortSignal} [signal]
 * @throws {Problem} It answers something else, or not at all.
 */
export async function ask(path, parameters = {}, signal = undefined) {
  const query = new URLSearchParams(Object.entries(parameters).map(([name, value]) => [name, String(value)]));
  const patience = AbortSignal.timeout(PATIENCE_MS);
  let response;
  let body;
  try {
    response = await fetch(query.size ? `${path}?${query}` : path, {
      signal: signal ? AbortSignal.any([signal, patience]) : patience,
      headers: { Accept: "application/json", ...credentials() },
    });
    body = await response.json().catch((error) => {
      if (!(error instanceof SyntaxError)) throw error;
      return {};
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, "The service can't be reached.");
  }
  glimpsed(response.headers.get("date"));
  if (response.ok) return body;
  if (response.status === 401) return unlock();
  throw new Problem(response.status, body.detail ?? `The service answered ${response.status}.`, body.request_id);
}

/** @param {number} ms @param {AbortSignal} [signal] Ends the wait. */
export function pause(ms, signal = undefined) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve(undefined)), { once: true });
  });
}
