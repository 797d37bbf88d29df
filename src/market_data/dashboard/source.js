/** One answer of `/stream`, read as an `EventSource` would, which can't send a key. */

import { credentials, unlock } from "./key.js";

/** @typedef {{name: string, id: string, data: string}} Message */

export class Source {
  #abort = new AbortController();

  /**
   * @param {string} path
   * @param {(message: Message) => void} tell Called with each event.
   * @param {() => void} ended Called when there are no more, whatever the reason; not after `close`.
   */
  constructor(path, tell, ended) {
    this.#read(path, tell)
      .catch(() => {}) // as when the connection is lost
      .then(() => this.#abort.signal.aborted || ended());
  }

  close() {
    this.#abort.abort();
  }

  /** @param {string} path @param {(message: Message) => void} tell */
  async #read(path, tell) {
    const { signal } = this.#abort;
    const headers = { Accept: "text/event-stream", ...credentials() };
    const response = await fetch(path, { headers, signal, cache: "no-store" });
    if (response.status === 401) await unlock();
    if (!response.ok || !response.body) return;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) return;
      const events = (text + value).split("\n\n");
      text = /** @type {string} */ (events.pop());
      for (const event of events) {
        if (signal.aborted) return;
        try {
          tell(parse(event));
        } catch (error) {
          reportError(error); // it is no reason to lose the next one
        }
      }
    }
  }
}

/** @param {string} event The lines of one, as this service writes them. @returns {Message} */
function parse(event) {
  const fields = Object.fromEntries(event.split("\n").map((line) => line.split(/: (.*)/s, 2)));
  return { name: fields.event, id: fields.id, data: fields.data };
}
