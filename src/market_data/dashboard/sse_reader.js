/**
 * Reads one response of `/stream`, in a page or in a worker. Used instead of `EventSource`, which can't send a key.
 */

/**
 * @typedef {{name: string, id: string, data: string}} Message
 * @typedef {object} Callbacks
 * @property {(message: Message) => void} onMessage
 * @property {() => void} onEnd Called when the stream ends or fails; not called after `close`.
 * @property {() => void} onUnauthorized Called in place of `onEnd` if the service asks for an API key.
 */

/** Silence after which a connection is late: the service sends a heartbeat at least every 10 s. */
export const LATE_MS = 13_000;

/** @param {Response} response @returns {boolean} True for a 401 of the service; a proxy in front asks for other credentials. */
export function needsKey(response) {
  return response.status === 401 && /^bearer/i.test(response.headers.get("www-authenticate") ?? "");
}

export class SseReader {
  #abort = new AbortController();

  /** @param {string} url @param {Record<string, string>} headers With the API key. @param {Callbacks} callbacks */
  constructor(url, headers, callbacks) {
    this.#read(url, headers, callbacks)
      .catch(() => callbacks.onEnd) // a lost connection
      .then((end) => this.#abort.signal.aborted || end());
  }

  close() {
    this.#abort.abort();
  }

  /** @param {string} url @param {Record<string, string>} headers @param {Callbacks} callbacks */
  async #read(url, headers, { onMessage, onEnd, onUnauthorized }) {
    const { signal } = this.#abort;
    const response = await fetch(url, {
      headers: { Accept: "text/event-stream", ...headers },
      signal,
      cache: "no-store",
    });
    if (needsKey(response)) return onUnauthorized;
    if (!response.ok || !response.body) return onEnd;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let buffer = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) return onEnd;
      const events = (buffer + value).split("\n\n");
      buffer = /** @type {string} */ (events.pop());
      for (const event of events) {
        if (signal.aborted) return onEnd;
        try {
          onMessage(parse(event));
        } catch (error) {
          reportError(error); // keep reading: the next events are independent
        }
      }
    }
  }
}

/** @param {string} event Lines of one event, one `data:` line at most, as this service writes them. @returns {Message} */
function parse(event) {
  const fields = Object.fromEntries(event.split("\n").map((line) => line.split(/: (.*)/s, 2)));
  return { name: fields.event, id: fields.id, data: fields.data };
}
