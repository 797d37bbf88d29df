// A classic script in the page itself, because it must run even if no other file arrives: reports scripts and style sheets
// that can't be loaded, or that fail before the page has begun.
"use strict";
{
  const SLOW_MS = 15_000;

  /** @type {HTMLElement | undefined} */
  let notice;
  let hasFailed = false;

  /** @param {string} text */
  const report = (text) => {
    const container = document.getElementById("notices");
    if (!container) return addEventListener("DOMContentLoaded", () => report(text), { once: true });
    document.documentElement.dataset.connection = "offline";
    const labels = document.querySelectorAll("#connection .text, #freshness .text, #overlay-text");
    for (const label of labels) label.textContent = "Not loaded"; // the page replaces it if it starts after all
    notice = document.createElement("div");
    notice.className = "notice problem";
    notice.setAttribute("role", "alert");
    const message = document.createElement("p");
    message.textContent = text;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Load again";
    button.addEventListener("click", () => location.reload());
    notice.append(message, button);
    container.replaceChildren(notice);
  };

  /** @param {ErrorEvent | Event} event */
  const onError = (event) => {
    const { target } = event;
    const isOfPage = event instanceof ErrorEvent && !event.error; // such as of a ResizeObserver, which is harmless
    if (hasFailed || isOfPage) return; // the first error is the cause of the others
    hasFailed = true;
    clearTimeout(timer);
    if (target instanceof HTMLScriptElement || target instanceof HTMLLinkElement) {
      const url = new URL(target instanceof HTMLScriptElement ? target.src : target.href);
      const file = url.pathname.split("/").pop();
      report(`The page is incomplete: ${file} can't be loaded. The service or the network may be busy.`);
    } else if (event instanceof ErrorEvent) report(`The page can't start in this browser. ${event.message}`);
  };

  const timer = setTimeout(() => report("The page is still loading. The service or the network may be busy."), SLOW_MS);
  addEventListener("error", onError, true); // errors of elements do not bubble
  addEventListener("load", () => {
    clearTimeout(timer);
    if (!hasFailed) notice?.remove(); // slow, but complete
    removeEventListener("error", onError, true);
  });
}
