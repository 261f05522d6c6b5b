// The public REST API of the service that served this page.

export const PATH = "open-vocabulary-segmentation";

const TOKEN_KEY = "ovseg.token"; // In sessionStorage: gone with the tab.
const MAX_TRIES = 4;
const MAX_WAIT_S = 5;

/** What went wrong: `status` is HTTP's, 0 when nothing answered; `detail` is the service's word. */
export class ApiError extends Error {
  constructor(status, detail = "", retryAfterS = 1) {
    super(detail || `HTTP ${status}`);
    this.status = status;
    this.detail = detail;
    this.retryAfterS = retryAfterS;
  }

  /** Whether the same may work a little later. */
  get isBusy() {
    return this.status === 429 || this.status === 503;
  }
}

export class Service {
  /** @param {() => Promise<string | null>} askForToken asks the person; null: no. */
  constructor(askForToken) {
    this.url = new URL(PATH, document.baseURI).href;
    this.askForToken = askForToken;
    this.token = readToken();
  }

  /**
   * Asks once, or again where the service is busy and `patient` is set.
   * @returns {Promise<{result: object, timing: object}>} see `parseTiming`.
   * @throws {ApiError} and, when `signal` is aborted, AbortError.
   */
  async ask(fields, { signal, patient = false } = {}) {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#askOnce(fields, signal);
      } catch (error) {
        if (error.status === 401 && (await this.#newToken())) continue;
        if (!error.isBusy || !patient || tries === MAX_TRIES || error.retryAfterS > MAX_WAIT_S) throw error;
        await new Promise((resolve) => setTimeout(resolve, error.retryAfterS * 1000));
      }
    }
  }

  async #askOnce(fields, signal) {
    const headers = { "Content-Type": "application/json" };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    const body = JSON.stringify({ visualize: false, ...fields });
    const started = performance.now();
    let response, answer;
    try {
      response = await fetch(this.url, { method: "POST", headers, body, signal });
      answer = await response.json();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(response?.status ?? 0);
    }
    if (!response.ok) {
      const retryAfterS = Number(response.headers.get("Retry-After")) || 1;
      throw new ApiError(response.status, inWords(answer.errorMsg), retryAfterS);
    }
    const timing = parseTiming(response.headers.get("Server-Timing") ?? "");
    timing.roundTrip = performance.now() - started;
    return { result: answer.result, timing };
  }

  async #newToken() {
    const refused = this.token;
    this.asking ??= this.askForToken(Boolean(refused)).finally(() => (this.asking = null));
    const token = await this.asking;
    if (!token) return false;
    this.token = token;
    try {
      sessionStorage.setItem(TOKEN_KEY, token);
    } catch {
      // Then it is only kept as long as the page.
    }
    return true;
  }
}

/**
 * One picture, sent once: later prompts name it by its `imageId`, unless the service lost it.
 */
export class PictureSession {
  constructor(service, file) {
    this.service = service;
    this.file = file;
    this.imageId = null;
    this.first = null;
  }

  /** Whether a prompt costs a few bytes, and not the whole picture again. */
  get isHeld() {
    return this.imageId !== null;
  }

  /** As `Service.ask`, about this picture. */
  async ask(fields, options) {
    // Nobody sends the picture while it is on its way already.
    if (this.first) await this.first.catch(() => {});
    if (this.imageId !== null) {
      try {
        return await this.service.ask({ ...fields, imageId: this.imageId }, options);
      } catch (error) {
        if (error.status !== 404) throw error;
        this.imageId = null;
      }
    }
    const sent = this.#send(fields, options);
    this.first = sent;
    try {
      return await sent;
    } finally {
      if (this.first === sent) this.first = null;
    }
  }

  async #send(fields, options) {
    const answer = await this.service.ask({ ...fields, image: await base64Of(this.file) }, options);
    this.imageId = answer.result.imageId ?? null;
    return answer;
  }
}

/**
 * Milliseconds of each part of a `Server-Timing` header; `cache` is "hit", "miss" or undefined.
 */
export function parseTiming(header) {
  const timing = {};
  for (const entry of header.split(",")) {
    const [name, ...parameters] = entry.trim().split(";");
    for (const parameter of parameters) {
      const [key, value] = parameter.split("=");
      if (key === "dur") timing[name] = Number(value);
      if (key === "desc") timing[name] = value;
    }
  }
  return timing;
}

function inWords(errorMsg) {
  try {
    // A 422 lists its problems as JSON text.
    return JSON.parse(errorMsg)
      .map((problem) => problem.msg)
      .join("; ");
  } catch {
    return errorMsg ?? "";
  }
}

function base64Of(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    // After "data:…;base64,".
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new ApiError(0, String(reader.error)));
    reader.readAsDataURL(file);
  });
}

function readToken() {
  try {
    return sessionStorage.getItem(TOKEN_KEY);
  } catch {
    return null;
  }
}
