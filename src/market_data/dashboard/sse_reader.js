/** Reads one response of `/stream`. Used instead of `EventSource`, which can't send a key. */

import { authHeaders, needsKey, requestKey } from "./api_key_dialog.js";

/** @typedef {{name: string, id: string, data: string}} Message */

export class SseReader {
  #abort = new AbortController();

  /**
   * @param {string} url
   * @param {(message: Message) => void} onMessage
   * @param {() => void} onEnd Called when the response ends or fails; not called after `close`.
   */
  constructor(url, onMessage, onEnd) {
    this.#read(url, onMessage)
      .catch(() => {}) // a lost connection: `onEnd` handles it
      .then(() => this.#abort.signal.aborted || onEnd());
  }

  close() {
    this.#abort.abort();
  }

  /** @param {string} url @param {(message: Message) => void} onMessage */
  async #read(url, onMessage) {
    const { signal } = this.#abort;
    const headers = { Accept: "text/event-stream", ...authHeaders() };
    const response = await fetch(url, { headers, signal, cache: "no-store" });
    if (needsKey(response)) await requestKey();
    if (!response.ok || !response.body) return;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let buffer = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) return;
      const events = (buffer + value).split("\n\n");
      buffer = /** @type {string} */ (events.pop());
      for (const event of events) {
        if (signal.aborted) return;
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
