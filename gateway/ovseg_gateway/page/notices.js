// What is under way, and what went wrong, in words.

import { byId } from "./dom.js";
import { has, t } from "./messages.js";

const BUSY_AFTER_MS = 150; // What is faster needs no telling.

let busyCount = 0;

/** Shows that something is under way until `work` has ended. */
export async function whileBusy(key, work) {
  busyCount++;
  const timer = setTimeout(() => {
    byId("busy-text").textContent = t(key);
    byId("busy").hidden = false;
  }, BUSY_AFTER_MS);
  try {
    return await work();
  } finally {
    clearTimeout(timer);
    busyCount--;
    if (busyCount === 0) byId("busy").hidden = true;
  }
}

/** @param key of the sentence. @param detail what else is known, as the service says it. */
export function showNotice(key, detail = "") {
  byId("notice-text").textContent = t(key);
  byId("notice-detail").textContent = detail;
  byId("notice").hidden = false;
}

/** Says what an error of `api.js` means. */
export function showError(error) {
  if (error.name === "AbortError") return;
  const key = `error.${error.status}`;
  // Of others than a 422 the sentence says it all.
  const detail = error.status === 422 || !has(key) ? (error.detail ?? error.message) : "";
  showNotice(has(key) ? key : "error.other", detail);
}

export function hideNotice() {
  byId("notice").hidden = true;
}

/** For those who listen to the page. */
export function announce(text) {
  byId("announce").textContent = text;
}

/** Asks for a token; null: the person would rather not. */
export function askForToken(isAgain) {
  const dialog = byId("token-dialog");
  const input = byId("token");
  byId("token-title").textContent = t(isAgain ? "token.again" : "token.title");
  input.value = "";
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => resolve(dialog.returnValue === "ok" ? input.value.trim() || null : null),
      { once: true },
    );
  });
}
