// A classic script in the page itself: requests the symbols while the scripts of the page are still loading. `getJson` takes
// the response. The requests of both must be the same.
"use strict";
{
  const TIMEOUT_MS = 15_000;
  const key = sessionStorage.getItem("market-data-key");
  const headers = { Accept: "application/json", "X-Read-After": "9223372036854775807", ...(key && { "X-API-Key": key }) };
  const request = fetch("symbols", { headers, cache: "no-cache", signal: AbortSignal.timeout(TIMEOUT_MS) });
  request.catch(() => {}); // getJson reports it
  Object.assign(globalThis, { earlyRequest: { url: new URL("symbols", document.baseURI).href, request } });
}
