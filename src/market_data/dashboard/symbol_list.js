/** Reads the list of symbols. */

import { getJson } from "./api_client.js";
import { showOverlay } from "./chart_overlay.js";
import { dismissNotice, showNotice } from "./notices.js";
import { sleep, waitToRetry } from "./retry.js";

/** Time until the symbols are read again while there are none. */
const NO_SYMBOLS_MS = 3000;

export class SymbolList {
  #reading = false;
  #onRead;

  /** @param {(symbols: import("./watch_list.js").Listing[]) => Promise<void>} onRead */
  constructor(onRead) {
    this.#onRead = onRead;
  }

  /** Read the symbols until there is at least one. */
  async read() {
    if (this.#reading) return;
    this.#reading = true;
    for (let failures = 0; ; ) {
      try {
        const { symbols } = await getJson("/symbols");
        await this.#onRead(symbols);
        dismissNotice("symbols");
        if (symbols.length) break;
        failures = 0;
        showOverlay("empty", "No symbols yet. They appear with the first trades.");
      } catch (error) {
        failures += 1;
        showNotice("symbols", `Can't read the symbols. ${/** @type {Error} */ (error).message}`);
      }
      await (failures ? waitToRetry(failures) : sleep(NO_SYMBOLS_MS));
    }
    this.#reading = false;
  }
}
