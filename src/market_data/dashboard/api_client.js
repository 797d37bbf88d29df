/** Requests to the REST API. */

import { authHeaders, needsKey, requestKey } from "./api_key_dialog.js";
import { serviceUrl } from "./service_url.js";
import { syncFromDateHeader } from "./service_clock.js";

const TIMEOUT_MS = 15_000;
/** With a replica, every read goes to the primary server: a replica may lack trades committed before the stream began. */
const NEWEST = { "X-Read-After": "9223372036854775807" };

/** A failed request; the message is shown to the user. */
class ApiError extends Error {
  /** @param {string} detail @param {string} [requestId] */
  constructor(detail, requestId) {
    super(requestId ? `${detail} (request ${requestId})` : detail);
  }
}

/**
 * Return the JSON body of a GET request. After a 401 this opens the API key dialog and never returns: the page reloads.
 * @param {string} path
 * @param {Record<string, string | number>} [parameters]
 * @param {AbortSignal} [signal]
 * @throws {ApiError} If the service rejects the request or can't be reached.
 */
export async function getJson(path, parameters = {}, signal = undefined) {
  const query = new URLSearchParams(Object.entries(parameters).map(([name, value]) => [name, String(value)]));
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  let response;
  let body;
  try {
    response = await fetch(serviceUrl(query.size ? `${path}?${query}` : path), {
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      headers: { Accept: "application/json", ...NEWEST, ...authHeaders() },
    });
    body = await response.json().catch((error) => {
      if (!(error instanceof SyntaxError)) throw error;
      return {}; // a proxy's error page
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError("The service can't be reached.");
  }
  syncFromDateHeader(response.headers.get("date"));
  if (response.ok) return body;
  if (needsKey(response)) return requestKey();
  throw new ApiError(body.detail ?? `The service answered ${response.status}.`, body.request_id);
}

/**
 * Return a function that runs another one a while after the first of several calls, so that many events lead to one request.
 * @param {() => void} run
 * @param {number} ms
 */
export function delayed(run, ms) {
  let timer = 0;
  return () => {
    timer ||= setTimeout(() => {
      timer = 0;
      run();
    }, ms);
  };
}

/** @param {number} ms @param {AbortSignal} [signal] Ends the wait early. */
export function sleep(ms, signal = undefined) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve(undefined)), { once: true });
  });
}
