// What the page says, in the reader's language.

import { en } from "./en.js";
import { zh } from "./zh.js";

const LANGUAGES = { en, zh };
const KEY = "ovseg.language";

let current = chosen() ?? (navigator.languages?.[0] ?? "en").toLowerCase().split("-")[0];
if (!LANGUAGES[current]) current = "en";

/** The text of a key, with `{name}` replaced by `values.name`. */
export function t(key, values = {}) {
  const text = LANGUAGES[current][key] ?? en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** Whether there is a text of that key. */
export function has(key) {
  return key in en;
}

/**
 * Says everything in the present language; the button turns English into Chinese and back.
 * @param {() => void} changed is called after that.
 */
export function watchLanguage(button, changed) {
  const put = () => {
    translatePage();
    button.textContent = current === "zh" ? "English" : "中文";
    button.lang = current === "zh" ? "en" : "zh-Hans";
  };
  button.addEventListener("click", () => {
    switchLanguage();
    put();
    changed();
  });
  put();
}

/** Puts the texts of the present language into all elements that name a key. */
function translatePage() {
  document.documentElement.lang = current === "zh" ? "zh-Hans" : current;
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-t-label]")) {
    const text = t(element.dataset.tLabel);
    element.setAttribute("aria-label", text);
    if (element.matches("button")) element.title = text;
  }
}

/** English and Chinese take turns. */
function switchLanguage() {
  current = current === "zh" ? "en" : "zh";
  try {
    localStorage.setItem(KEY, current);
  } catch {
    // Then it holds until the page is left.
  }
}

function chosen() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}
