/**
 * The dialog that asks for an API key, and the key itself.
 *
 * The key is kept in sessionStorage only, so it ends with the tab. A new key reloads the page, which repeats every request
 * that failed.
 */

import { byId } from "./dom.js";
import { serviceUrl } from "./service_url.js";
import { needsKey } from "./sse_reader.js";

const STORAGE_KEY = "market-data-key";
const KEY_PATTERN = /^md_[0-9a-f]{8}_[\w-]{43}$/;

const dialog = /** @type {HTMLDialogElement} */ (byId("key-dialog"));
const input = /** @type {HTMLInputElement} */ (byId("key"));
const submitButton = /** @type {HTMLButtonElement} */ (byId("key-submit"));

/** @param {string | null} [key] @returns {Record<string, string>} */
export function authHeaders(key = sessionStorage.getItem(STORAGE_KEY)) {
  return key ? { "X-API-Key": key } : {}; // `Authorization` may belong to a proxy in front
}

/** True while the dialog is open, when every request would fail. */
export const isKeyRequired = () => dialog.open;

/** Open the dialog after a 401. @returns {Promise<never>} Never resolves: the page reloads once it has a valid key. */
export function requestKey() {
  if (!isKeyRequired()) openDialog();
  return new Promise(() => {});
}

async function openDialog() {
  const hadKey = sessionStorage.getItem(STORAGE_KEY) !== null;
  sessionStorage.removeItem(STORAGE_KEY);
  dialog.showModal();
  // An invalid key gets a 401 even if the service allows anonymous reads, so try without one.
  if (hadKey && (await rejectionReason("")) === "") location.reload();
  else if (hadKey) showError("Your API key is no longer valid.");
}

/** @param {string} key @returns {Promise<string>} Reason for the user; empty if the service accepts the key. */
async function rejectionReason(key) {
  try {
    const response = await fetch(serviceUrl("/symbols"), { headers: { Accept: "application/json", ...authHeaders(key) } });
    if (response.ok) return "";
    if (needsKey(response)) return "The service does not know this key, or the key has expired or been revoked.";
    const body = await response.json().catch(() => ({}));
    return body.detail ?? `The service answered ${response.status}.`;
  } catch {
    return "The service can't be reached.";
  }
}

/** @param {string} text */
function showError(text) {
  byId("key-error").textContent = text;
  input.setAttribute("aria-invalid", String(text !== ""));
}

async function submitKey() {
  const key = input.value.trim();
  let error = "Invalid format: an API key begins with md_ and has 55 characters.";
  if (KEY_PATTERN.test(key)) {
    submitButton.disabled = true;
    error = await rejectionReason(key);
    submitButton.disabled = false;
  }
  showError(error);
  if (error) {
    input.select();
    input.focus();
    return;
  }
  sessionStorage.setItem(STORAGE_KEY, key);
  location.reload();
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  submitKey();
});
// The page is useless without a key, so Escape must not close the dialog. Chromium closes it on the second Escape anyway.
dialog.addEventListener("cancel", (event) => event.preventDefault());
dialog.addEventListener("close", () => dialog.showModal());
