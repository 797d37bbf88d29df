/** Requests to the REST API. */

import { authHeaders, requestKey } from "./api_key_dialog.js";
import { replay } from "./replay.js";
import { serviceUrl } from "./service_url.js";
import { syncFromDateHeader } from "./service_clock.js";
import { needsKey } from "./sse_reader.js";

const TIMEOUT_MS = 15_000;
/** Paths that a replay reads as of its virtual time. */
const PAST = new Set(["/candles", "/candles/explain", "/snapshots", "/trades"]);
/** With a replica, every read goes to the primary server: a replica may lack trades committed before the stream began. */
const NEWEST = { "X-Read-After": "9223372036854775807" };

/** A failed request; the message is shown to the user. */
class ApiError extends Error {
  /** @param {string} detail @param {string} [requestId] */
  constructor(detail, requestId) {
    super(requestId ? `${detail} (request ${requestId})` : detail);
  }
}

/** Return the request that `early_request.js` has made, once. @param {string} url @returns {Promise<Response> | undefined} */
function takeEarlyRequest(url) {
  const page = /** @type {{earlyRequest?: {url: string, request: Promise<Response>}}} */ (globalThis);
  if (page.earlyRequest?.url !== url) return undefined;
  const { request } = page.earlyRequest;
  delete page.earlyRequest;
  return request;
}

/**
 * Return the JSON body of a GET request. After a 401 this opens the API key dialog and never returns: the page reloads.
 * @param {string} path
 * @param {Record<string, string | number>} [parameters]
 * @param {AbortSignal} [signal]
 * @throws {ApiError} If the service rejects the request or can't be reached.
 */
export async function getJson(path, parameters = {}, signal = undefined) {
  const past = replay && (PAST.has(path) || path.startsWith("/calendars/")) ? { as_of: replay.asOf } : {};
  const query = new URLSearchParams(Object.entries({ ...parameters, ...past }).map(([name, value]) => [name, String(value)]));
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  let response;
  let body;
  try {
    const url = serviceUrl(query.size ? `${path}?${query}` : path);
    const request = () =>
      fetch(url, {
        cache: "no-cache", // revalidate: responses about the past may be cached for seconds, in which late trades arrive
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
        headers: { Accept: "application/json", ...NEWEST, ...authHeaders() },
      });
    const early = takeEarlyRequest(url);
    response = await (early ?? request());
    if (!early) syncFromDateHeader(response.headers.get("date")); // an early response has waited
    body = await response.json().catch((error) => {
      if (!(error instanceof SyntaxError)) throw error;
      return {}; // a proxy's error page
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError("The service can't be reached.");
  }
  if (response.ok) return body;
  if (needsKey(response)) return requestKey();
  throw new ApiError(body.detail ?? `The service answered ${response.status}.`, body.request_id);
}
