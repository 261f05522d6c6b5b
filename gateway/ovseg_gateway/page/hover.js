// What a click would select, shown before it: at most one request at a time, always the newest.

const PAUSE_S = 5; // After the service said that it is busy.

export class HoverPreview {
  #wanted = null;
  #running = null; // AbortController of the request under way.
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

  /** Forgets the preview, and the request for it. */
  stop() {
    this.#wanted = null;
    this.#running?.abort();
    this.#running = null;
    this.show(null);
  }

  async #ask() {
    if (performance.now() < this.#pausedUntil) return;
    const running = new AbortController();
    this.#running = running;
    try {
      while (this.#wanted && !this.peek(this.#wanted)) {
        const object = this.#wanted;
        const candidates = await this.find(object, { signal: running.signal });
        if (running.signal.aborted) return;
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
