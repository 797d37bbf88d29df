/** Reads the stream of a replay from `/ws`, and sends it commands. */

import { authHeaders } from "./api_key_dialog.js";
import { dismissNotice, showNotice } from "./notices.js";
import { serviceUrl } from "./service_url.js";
import { streamQuery } from "./subscription.js";

/** An event of the stream; replies have no id. */
const EVENT = /^\{"event":"(\w+)","id":"([\d-]+)","data":(.*)\}$/s;

export class ReplayReader {
  #replay;
  #socket;
  #onMessage;

  /**
   * @param {import("./replay.js").Replay} replay
   * @param {import("./subscription.js").Subscription} subscription
   * @param {import("./shared_stream.js").Callbacks} callbacks
   */
  constructor(replay, subscription, { onMessage, onEnd }) {
    this.#replay = replay;
    this.#onMessage = onMessage;
    const query = new URLSearchParams(replay.parameters);
    const url = serviceUrl(`/ws?${streamQuery(subscription, "")}&${query}`).replace(/^http/, "ws");
    const key = authHeaders()["X-API-Key"];
    this.#socket = new WebSocket(url, key ? ["bearer", key] : []); // a page can't send headers
    this.#socket.onopen = () => replay.paused && this.send({ action: "pause" });
    this.#socket.onmessage = ({ data }) => this.#receive(data);
    this.#socket.onclose = () => {
      replay.hold();
      onEnd();
    };
  }

  /** @param {Record<string, string | number>} command */
  send(command) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(command));
  }

  /** Close the connection. The clock stands until the next one, as while the tab is hidden. */
  close() {
    const socket = this.#socket;
    socket.onclose = socket.onmessage = null;
    if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close(); // before, it would be an error
    else socket.close();
    this.#replay.hold();
  }

  /** @param {string} text */
  #receive(text) {
    const [, name, id, data] = EVENT.exec(text) ?? [];
    if (name) {
      dismissNotice("replay");
      this.#replay.reach(id);
      if (name === "clock") this.#replay.follow(JSON.parse(data));
      if (name === "end") this.#replay.hold(Date.parse(JSON.parse(data).timestamp));
      this.#onMessage({ name, id, data });
      return;
    }
    const { event, data: reply } = JSON.parse(text);
    if (event === "error") showNotice("replay", `Can't play the past. ${reply.detail}`);
  }
}
