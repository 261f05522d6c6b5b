// The list of objects, with the candidates of the selected one.

import { shownIndex } from "./answers.js";
import { afterPaint, byId, icon, make } from "./dom.js";
import { fillMask, strokeMask } from "./masks.js";
import { t } from "./messages.js";

const THUMB_DENSITY = 2; // Dots a CSS pixel.
const THUMB_PIXELS = { width: 92 * THUMB_DENSITY, height: 69 * THUMB_DENSITY };

const thumbs = new WeakMap(); // Canvas by candidate: drawing is not for every change.

export function nameOf(object) {
  return object.name || t("object.name", { n: object.id });
}

/** "score 0.92 · 12.3 % of the picture" */
export function factsOf({ mask, score }) {
  const percent = ((100 * mask.area) / (mask.width * mask.height)).toFixed(1);
  return score === undefined ? t("object.area", { percent }) : t("object.facts", { score: score.toFixed(2), percent });
}

/**
 * @param {Objects} objects @param {Answers} answers @param {Picture} picture
 * @param {(object) => boolean} hasFailed
 */
export function drawPanel(objects, answers, picture, hasFailed) {
  const focused = document.activeElement?.dataset?.focus;
  const { selected } = objects;
  byId("objects").replaceChildren(
    ...objects.list.map((object) => {
      const candidates = answers.peek(object);
      const entry = make("li", { class: object === selected ? "object selected" : "object", "data-id": object.id });
      entry.style.setProperty("--colour", object.colour);
      entry.append(headOf(objects, object, candidates, hasFailed(object)));
      if (object === selected && candidates?.length > 1) {
        entry.append(choiceOf(objects, object, candidates, picture));
      }
      return entry;
    }),
  );
  const hint = selected ? "objects.refine" : objects.list.length ? "objects.next" : "objects.empty";
  byId("objects-empty").textContent = t(hint);
  if (focused) document.querySelector(`[data-focus="${focused}"]`)?.focus();
}

function headOf(objects, object, candidates, hasFailed) {
  const { id, isVisible } = object;
  const name = nameOf(object);
  const swatch = make("button", {
    type: "button",
    class: "swatch",
    "aria-label": t("object.select", { name }),
    "aria-pressed": String(object === objects.selected),
    "data-focus": `select-${id}`,
  });
  swatch.addEventListener("click", () => objects.select(object === objects.selected ? null : id));

  const input = make("input", {
    type: "text",
    class: "name",
    value: object.name,
    placeholder: t("object.name", { n: id }),
    "aria-label": t("object.rename", { n: id }),
    "data-focus": `name-${id}`,
    maxlength: "60",
    spellcheck: "false",
  });
  input.addEventListener("input", () => objects.rename(id, input.value));
  input.addEventListener("focus", () => objects.selectedId !== id && objects.select(id));
  input.addEventListener("keydown", (event) => event.key === "Enter" && input.blur());

  const facts = make("p", { class: "facts" }, factsText(object, candidates, hasFailed));
  const eye = make("button", {
    type: "button",
    class: "quiet square small",
    "aria-label": t(isVisible ? "object.hide" : "object.show", { name }),
    "data-focus": `eye-${id}`,
  });
  eye.append(icon(isVisible ? "eye" : "eye-off"));
  eye.addEventListener("click", () => objects.setVisible(id, !isVisible));
  const bin = make("button", {
    type: "button",
    class: "quiet square small",
    "aria-label": t("object.delete", { name }),
    "data-focus": `delete-${id}`,
  });
  bin.append(icon("trash"));
  bin.addEventListener("click", () => objects.remove(id));
  return make("div", { class: "object-head" }, swatch, make("div", { class: "object-text" }, input, facts), eye, bin);
}

function factsText(object, candidates, hasFailed) {
  if (candidates) return factsOf(candidates[shownIndex(object, candidates)]);
  return t(hasFailed ? "object.failed" : "object.waiting");
}

function choiceOf(objects, object, candidates, picture) {
  const shown = shownIndex(object, candidates);
  const group = make("div", { class: "candidates", role: "group", "aria-label": t("candidates") });
  candidates.forEach((candidate, k) => {
    const score = candidate.score?.toFixed(2) ?? "";
    const button = make(
      "button",
      {
        type: "button",
        "aria-pressed": String(k === shown),
        "aria-label": t("candidate.label", { n: k + 1, score }),
        "data-focus": `candidate-${k}`,
      },
      thumbOf(candidate, object.colour, picture),
      make("span", {}, score),
    );
    button.addEventListener("click", () => objects.choose(object.id, k));
    group.append(button);
  });
  return group;
}

function thumbOf(candidate, colour, picture) {
  if (thumbs.has(candidate)) return thumbs.get(candidate);
  const canvas = make("canvas", { ...THUMB_PIXELS, "aria-hidden": "true" });
  thumbs.set(candidate, canvas);
  // Three of them take longer than the mask itself, which somebody waits for.
  afterPaint(() => {
    // It may have gone by now, and the picture with it.
    if (canvas.isConnected) drawThumb(canvas, candidate, colour, picture);
    else thumbs.delete(candidate);
  });
  return canvas;
}

function drawThumb(canvas, candidate, colour, picture) {
  const context = canvas.getContext("2d");
  const { width, height } = picture;
  const scale = Math.min(canvas.width / width, canvas.height / height);
  context.translate((canvas.width - width * scale) / 2, (canvas.height - height * scale) / 2);
  context.scale(scale, scale);
  context.drawImage(picture.small, 0, 0, width, height);
  const style = { colour, opacity: 0.55, lineWidth: 1 };
  fillMask(context, candidate.outline, style);
  strokeMask(context, candidate.outline, style, THUMB_DENSITY / scale);
}
