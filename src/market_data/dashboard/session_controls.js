/** Controls of charts whose symbol has trading sessions: the shown sessions, and the adjustment to corporate actions. */

import { ADJUSTMENTS, choices, SESSIONS } from "./chart_choices.js";
import { byId } from "./dom.js";
import { ALWAYS_OPEN } from "./trading_hours.js";

const controls = byId("session-controls");
const key = byId("session-key");
const chart = byId("chart");
const DESCRIPTION = chart.getAttribute("aria-describedby");
const session = /** @type {HTMLSelectElement} */ (byId("chart-session"));
const adjustment = /** @type {HTMLSelectElement} */ (byId("chart-adjustment"));

session.append(...SESSIONS.map(({ name, title }) => new Option(title, name)));
adjustment.append(...ADJUSTMENTS.map(({ name, title }) => new Option(title, name)));
session.addEventListener("change", () => choices.set({ session: /** @type {any} */ (session.value) }));
adjustment.addEventListener("change", () => choices.set({ adjustment: /** @type {any} */ (adjustment.value) }));

/** Show the choices that apply to candles, or none. @param {import("./candles.js").Candles} candles */
export function showSessionControls({ trading, hours }) {
  controls.hidden = trading.calendar === ALWAYS_OPEN;
  key.hidden = controls.hidden || !hours || trading.session === "regular";
  chart.setAttribute("aria-describedby", key.hidden ? DESCRIPTION : `${DESCRIPTION} ${key.id}`); // even hidden text describes
  session.value = choices.session;
  adjustment.value = choices.adjustment;
}
