// The timing strip: that a picture is decoded and encoded once, and every prompt after that is quick.

import { t } from "./messages.js";

const MAX_BARS = 40;
const LEAST_HEIGHT = 6; // Percent.

/** The three parts of an answer's time that people care about, in milliseconds; see api.js. */
export function partsOf(timing) {
  return {
    decode: (timing.base64 ?? 0) + (timing.preprocess ?? 0),
    encode: timing.encoder ?? 0,
    prompt: (timing.decoder ?? 0) + (timing.rle ?? 0),
  };
}

export class TimingStrip {
  constructor() {
    this.clear();
  }

  clear() {
    this.answers = [];
    this.encodings = 0;
    this.decode = this.encode = this.prompt = null;
    this.draw();
  }

  /** Drawn with the next `draw`. */
  note(timing) {
    const parts = partsOf(timing);
    if (timing.encoder !== undefined) {
      this.encodings++;
      this.encode = parts.encode;
      this.decode = parts.decode;
    } else if (this.encode === null) {
      this.encode = this.decode = 0; // Somebody had it encoded before.
    }
    if (timing.decoder !== undefined) this.prompt = parts.prompt;
    this.answers.push(parts);
  }

  draw() {
    const put = (id, text) => (document.getElementById(id).textContent = text);
    put("time-decode", milliseconds(this.decode));
    put("time-encode", milliseconds(this.encode));
    put("time-prompt", milliseconds(this.prompt));
    const count = this.answers.length;
    put("time-decode-note", this.#howOften());
    put("time-encode-note", this.#howOften());
    put("time-prompt-note", count ? t("timing.prompts", { n: count }) : "");
    this.#drawBars();
  }

  #howOften() {
    if (this.encode === null) return "";
    if (!this.encodings) return t("timing.known");
    return this.encodings === 1 ? t("timing.once") : t("timing.times", { n: this.encodings });
  }

  #drawBars() {
    const shown = this.answers.slice(-MAX_BARS);
    // The first, which encodes, stays in sight.
    if (this.answers.length > MAX_BARS) shown[0] = this.answers[0];
    const most = Math.max(...shown.map(totalOf), 1);
    const bars = document.getElementById("bars");
    bars.replaceChildren(
      ...shown.map((parts) => {
        const bar = document.createElement("span");
        bar.className = "bar";
        bar.style.height = `${Math.max((100 * totalOf(parts)) / most, LEAST_HEIGHT)}%`;
        for (const name of ["prompt", "encode", "decode"]) {
          if (!parts[name]) continue;
          const part = bar.appendChild(document.createElement("i"));
          part.className = name;
          part.style.flexGrow = parts[name];
        }
        return bar;
      }),
    );
    const text = { n: this.answers.length, encode: milliseconds(this.encode), prompt: milliseconds(this.prompt) };
    bars.setAttribute("aria-label", this.answers.length ? t("timing.summary", text) : t("timing.none"));
  }
}

function totalOf({ decode, encode, prompt }) {
  return decode + encode + prompt;
}

function milliseconds(value) {
  if (value === null) return "–";
  if (value === 0) return "0 ms";
  return value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}
