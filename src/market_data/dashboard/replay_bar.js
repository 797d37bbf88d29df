/** Controls of a replay, above the panels, and the form that starts one. */

import { byId, setText } from "./dom.js";
import { dateText, timeText } from "./formats.js";
import { replay, replayUrl } from "./replay.js";
import { now } from "./service_clock.js";
import { dayStart, onTimeZoneChange, timeZoneLabel, zonedIsoText } from "./time_zone.js";

const DAY_MS = 86_400_000;
/** Period of showing the virtual time. */
const SHOW_MS = 250;

const date = /** @type {HTMLInputElement} */ (byId("replay-date"));
const slider = /** @type {HTMLInputElement} */ (byId("replay-time"));
const speeds = /** @type {HTMLSelectElement} */ (byId("replay-speed"));
const playButton = byId("replay-play");

/** @param {import("./stream.js").Stream} stream */
export function bindReplay(stream) {
  bindForm();
  if (replay) bindBar(replay, stream);
}

function bindForm() {
  date.max = dayOf(now());
  date.value = replay ? dayOf(replay.start) : dayOf(now() - DAY_MS);
  byId("replay-form").addEventListener("submit", (event) => {
    event.preventDefault();
    location.assign(replayUrl(dayStart(date.value)));
  });
}

/** @param {number} time @returns {string} As a date input has it. */
function dayOf(time) {
  return zonedIsoText(time).slice(0, 10);
}

/** @param {import("./replay.js").Replay} replay @param {import("./stream.js").Stream} stream */
function bindBar(replay, stream) {
  let dragging = false;
  const show = () => {
    const time = dragging ? Number(slider.value) : now();
    if (!dragging) slider.value = String(time);
    slider.setAttribute("aria-valuetext", timeText(time));
    setText(byId("replay-clock"), `${dateText(time)} ${timeText(time)} ${timeZoneLabel()}`);
    setText(playButton, replay.paused || stream.state.kind === "ended" ? "Play" : "Pause");
  };
  const seek = (/** @type {number} */ time) => {
    replay.seek(time);
    stream.restart();
  };
  slider.min = String(replay.start);
  slider.max = String(replay.end);
  speeds.value = String(replay.speed);
  slider.addEventListener("input", () => {
    dragging = true;
    show();
  });
  slider.addEventListener("change", () => {
    dragging = false;
    seek(Number(slider.value));
  });
  const pause = (/** @type {boolean} */ paused, action = paused ? "pause" : "resume") => {
    replay.paused = paused;
    stream.send({ action });
    show();
  };
  playButton.addEventListener("click", () => {
    const ended = stream.state.kind === "ended";
    pause(!ended && !replay.paused);
    if (ended) seek(replay.start);
  });
  byId("replay-step").addEventListener("click", () => pause(true, "step"));
  speeds.addEventListener("change", () => {
    replay.speed = Number(speeds.value);
    stream.send({ action: "speed", speed: replay.speed });
  });
  byId("replay-live").addEventListener("click", () => location.assign(replayUrl()));
  onTimeZoneChange(show);
  setInterval(show, SHOW_MS);
  show();
  byId("replay").hidden = false;
}
