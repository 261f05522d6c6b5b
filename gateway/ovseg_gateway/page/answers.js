// What the service answered to each prompt on one picture; undo, redo and a click on what the
// pointer was over need not ask again.

import { Mask } from "./rle.js";
import { outlineOf } from "./outline.js";

const MAX_KEPT = 300;

/** What an object asks for; two that ask for the same get the same answer. */
export function promptOf({ points, box }) {
  const prompt = {};
  if (points.length) {
    prompt.points = points.map(({ x, y }) => [x, y]);
    prompt.labels = points.map(({ label }) => label);
  }
  if (box) prompt.box = box;
  return prompt;
}

/** One click can mean several things; more than that, SAM answers best with one mask. */
export function isAmbiguous({ points, box }) {
  return points.length === 1 && !box;
}

export class Answers {
  /** @param {(timing: object) => void} noteTiming hears of every answer that was asked for. */
  constructor(session, noteTiming) {
    this.session = session;
    this.noteTiming = noteTiming;
    this.kept = new Map();
    this.underWay = new Map();
  }

  /** The candidates for what an object marks, if they are known; see `find`. */
  peek(object) {
    return this.kept.get(promptKey(object));
  }

  /** @returns {Promise<Candidate[]>} one, or three for one click. */
  async find(object, options = {}) {
    const key = promptKey(object);
    const known = this.kept.get(key);
    if (known) return known;
    const underWay = this.underWay.get(key);
    if (underWay) return underWay.isPatient ? underWay.asked : this.#join(underWay, object, options);
    const asked = this.#ask(object, key, options).finally(() => this.underWay.delete(key));
    this.underWay.set(key, { asked, isPatient: options.patient });
    return asked;
  }

  async #join({ asked }, object, options) {
    try {
      return await asked;
    } catch (error) {
      // Whoever asked did not wait for a busy service.
      if (!error.isBusy || !options.patient) throw error;
      return this.find(object, options);
    }
  }

  async #ask(object, key, options) {
    const { result, timing } = await this.session.ask(
      { prompts: [promptOf(object)], multimask: isAmbiguous(object) },
      options,
    );
    this.noteTiming(timing);
    const candidates = result.masks.map((mask, k) => new Candidate(mask, result.maskInfos[k].score));
    this.kept.delete(key);
    this.kept.set(key, candidates);
    if (this.kept.size > MAX_KEPT) this.kept.delete(this.kept.keys().next().value);
    return candidates;
  }
}

/** One mask for a prompt; what is costly is made when it is first wanted. */
export class Candidate {
  #mask;
  #outline;

  constructor(rle, score) {
    this.rle = { size: rle.size, counts: rle.counts };
    this.score = score; // The model's estimate of the mask's IoU; undefined where it makes none.
  }

  get mask() {
    return (this.#mask ??= new Mask(this.rle));
  }

  get outline() {
    return (this.#outline ??= outlineOf(this.mask));
  }
}

/** Index of the candidate that an object shows: the one that was chosen, or the best. */
export function shownIndex(object, candidates) {
  if (object.choice !== null && object.choice < candidates.length) return object.choice;
  let best = 0;
  candidates.forEach(({ score }, k) => {
    if (score > candidates[best].score) best = k;
  });
  return best;
}

/** Equal for objects that ask for the same. */
export function promptKey(object) {
  return JSON.stringify(promptOf(object));
}
