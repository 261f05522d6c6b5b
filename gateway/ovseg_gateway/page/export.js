// The buttons that take masks out of the page.

import { shownIndex } from "./answers.js";
import { byId } from "./dom.js";
import { cocoJson, cutOutPng, maskPng, overlayPng, save } from "./downloads.js";
import { t } from "./messages.js";
import { announce, showNotice, whileBusy } from "./notices.js";
import { nameOf } from "./panel.js";
import { curlOf, pythonOf } from "./snippets.js";

const BUTTONS = ["save-cutout", "save-mask", "save-overlay", "save-coco", "copy-curl", "copy-python"];
const TOLD_MS = 1600;

/** Objects that are seen now, each with the candidate that is shown of it. */
export function shownObjects(objects, answers) {
  return objects.list
    .filter(({ isVisible }) => isVisible)
    .map((object) => ({ object, candidates: answers.peek(object) }))
    .filter(({ candidates }) => candidates)
    .map(({ object, candidates }) => {
      const index = shownIndex(object, candidates);
      return { object, index, candidate: candidates[index] };
    });
}

export function drawExport(shown) {
  for (const id of BUTTONS) byId(id).disabled = shown.length === 0;
}

/** @param {() => {shown: Array, selectedId: number | null, picture: Picture, hasToken: boolean}} now */
export function watchExport(now) {
  // The selected object, or the latest.
  const one = ({ shown, selectedId }) => shown.find(({ object }) => object.id === selectedId) ?? shown.at(-1);
  const stem = ({ picture }) => picture.name.replace(/\.[^.]*$/, "");
  const saveAs = async (ending, makeFile) => {
    const state = now();
    try {
      save(await whileBusy("busy.saving", () => makeFile(state)), `${stem(state)}_${ending}`);
    } catch (error) {
      showNotice("error.save", error.message);
    }
  };
  const on = (id, action) => byId(id).addEventListener("click", action);
  on("save-cutout", () => saveAs("cutout.png", (state) => cutOutPng(one(state).candidate, state.picture)));
  on("save-mask", () => saveAs("mask.png", (state) => maskPng(one(state).candidate)));
  on("save-overlay", () => saveAs("masks.png", ({ shown, picture }) => overlayPng(shown, picture)));
  on("save-coco", () =>
    saveAs("coco.json", async ({ shown, picture }) => cocoJson(shown, picture, shown.map(({ object }) => nameOf(object)))),
  );
  on("copy-curl", (event) => {
    const state = now();
    copy(event.currentTarget, curlOf(one(state).object, state.picture, state.hasToken));
  });
  on("copy-python", (event) => {
    const state = now();
    const { object, index } = one(state);
    copy(event.currentTarget, pythonOf(object, state.picture, state.hasToken, index));
  });
}

async function copy(button, text) {
  try {
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else copyBySelection(text);
  } catch {
    showNotice("error.copy");
    return;
  }
  announce(t("export.copied"));
  button.textContent = t("export.copied");
  button.classList.add("done");
  setTimeout(() => {
    button.textContent = t(button.dataset.t);
    button.classList.remove("done");
  }, TOLD_MS);
}

/** The clipboard's own interface is closed to pages without TLS on other hosts than localhost. */
function copyBySelection(text) {
  const area = document.body.appendChild(document.createElement("textarea"));
  area.value = text;
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  if (!isCopied) throw new Error("not copied");
}
