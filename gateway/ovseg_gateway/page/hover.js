// What a click would select, shown before it: at most one request at a time, always the newest.

import { promptKey } from "./answers.js";

const PAUSE_S = 5; // After the service said that it is busy.

export class HoverPreview {
  #wanted = null;
  #running = null; // AbortController of the request under way.
  #asked = null; // What it is about.
  #pausedUntil = 0;

  /**
   * @param {(object) => Array | undefined} peek the answer, if it is known.
   * @param {(object, {signal}) => Promise<Array>} find asks for it.
   * @param {({object, candidates} | null) => void} show
   */
  constructor(peek, find, show) {
    this.peek = peek;
    this.find = find;
    this.show = show;
  }

  /** @param object what a click here would ask for. */
  want(object) {
    this.#wanted = object;
    const candidates = this.peek(object);
    if (candidates) this.show({ object, candidates });
    else if (!this.#running) this.#ask();
  }

  /** The same when the button goes down: nothing is to wait for what another place would select. */
  press(object) {
    if (this.#running && promptKey(this.#asked) !== promptKey(object)) this.stop();
    this.want(object);
  }

  /**
   * Forgets the preview, and the request for it.
   * @param {(object) => boolean} isSpared whether somebody else waits for that request by now.
   */
  stop(isSpared = () => false) {
    if (this.#running && !isSpared(this.#asked)) this.#running.abort();
    this.#wanted = this.#running = this.#asked = null;
    this.show(null);
  }

  async #ask() {
    if (performance.now() < this.#pausedUntil) return;
    const running = new AbortController();
    this.#running = running;
    try {
      while (this.#wanted && !this.peek(this.#wanted)) {
        const object = this.#wanted;
        this.#asked = object;
        const candidates = await this.find(object, { signal: running.signal });
        if (this.#running !== running) return;
        this.show({ object, candidates });
      }
    } catch (error) {
      // A preview is no reason to interrupt anybody; a click will say what is wrong.
      if (error.name !== "AbortError") this.#pausedUntil = performance.now() + PAUSE_S * 1000;
    } finally {
      if (this.#running === running) this.#running = null;
    }
  }
}
