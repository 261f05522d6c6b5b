// The objects that somebody marks on one picture, with undo and redo. Objects are never changed:
// every step makes new ones, so that a step back is just the list as it was.

const COLOURS = ["#5b6cff", "#ff7a3d", "#17b890", "#f2456e", "#b15bf0", "#f0b400", "#12a5e0", "#86b817"];

export class Objects {
  /** @param {() => void} changed is called after every change. */
  constructor(changed) {
    this.changed = changed;
    this.clear();
  }

  clear() {
    this.list = [];
    this.selectedId = null;
    this.past = [];
    this.future = [];
    this.nextId = 1;
  }

  get selected() {
    return this.list.find(({ id }) => id === this.selectedId) ?? null;
  }

  get canUndo() {
    return this.past.length > 0;
  }

  get canRedo() {
    return this.future.length > 0;
  }

  /** The colour of the object that comes next. */
  get nextColour() {
    return COLOURS[(this.nextId - 1) % COLOURS.length];
  }

  /** The selected object with one more point; a new object if none is selected. Not kept yet. */
  withPoint(point) {
    const object = this.selected ?? this.#fresh();
    return { ...object, points: [...object.points, point], choice: null };
  }

  addPoint(point) {
    this.#keep(this.withPoint(point));
  }

  /** A box starts an object of its own. */
  addBox(box) {
    this.#keep({ ...this.#fresh(), box });
  }

  /** Shows another of an object's candidates. */
  choose(id, choice) {
    this.#replace(id, { choice });
  }

  setVisible(id, isVisible) {
    this.#replace(id, { isVisible });
  }

  /** No step of its own: undo is about masks. */
  rename(id, name) {
    this.list = this.list.map((object) => (object.id === id ? { ...object, name } : object));
  }

  remove(id) {
    this.#step();
    this.list = this.list.filter((object) => object.id !== id);
    if (this.selectedId === id) this.selectedId = null;
    this.changed();
  }

  /** @param {number | null} id null: the next click starts a new object. */
  select(id) {
    this.selectedId = id;
    this.changed();
  }

  /** Selects the object after, or before, the selected one. */
  selectNext(offset) {
    if (!this.list.length) return;
    const at = this.list.findIndex(({ id }) => id === this.selectedId);
    const next = at < 0 ? (offset > 0 ? 0 : -1) : at + offset;
    this.select(this.list.at(next % this.list.length).id);
  }

  undo() {
    this.#travel(this.past, this.future);
  }

  redo() {
    this.#travel(this.future, this.past);
  }

  #fresh() {
    return { id: this.nextId, colour: this.nextColour, name: "", points: [], box: null, choice: null, isVisible: true };
  }

  #keep(object) {
    this.#step();
    const isNew = object.id === this.nextId;
    this.list = isNew
      ? [...this.list, object]
      : this.list.map((other) => (other.id === object.id ? object : other));
    if (isNew) this.nextId++;
    this.selectedId = object.id;
    this.changed();
  }

  #replace(id, fields) {
    this.#step();
    this.list = this.list.map((object) => (object.id === id ? { ...object, ...fields } : object));
    this.changed();
  }

  #step() {
    this.past.push(this.#snapshot());
    this.future = [];
  }

  #travel(from, to) {
    if (!from.length) return;
    to.push(this.#snapshot());
    const { list, selectedId } = from.pop();
    this.list = list;
    this.selectedId = selectedId;
    this.changed();
  }

  #snapshot() {
    return { list: this.list, selectedId: this.selectedId };
  }
}
