// Where the picture lies on the canvas: zoom and pan.

const MAX_SCALE = 24; // Canvas pixels for one of the picture.
const MARGIN = 24;

export class Viewport {
  constructor() {
    this.picture = { width: 1, height: 1 };
    this.canvas = { width: 1, height: 1 };
    this.inset = 0;
    this.scale = 1;
    this.x = 0; // Of the picture's upper left corner on the canvas, in CSS pixels.
    this.y = 0;
    this.isFitted = true;
  }

  /** @param inset height at the canvas's lower edge that the toolbar covers. */
  resize(width, height, inset) {
    const middle = this.toPicture(this.canvas.width / 2, this.canvas.height / 2);
    this.canvas = { width, height };
    this.inset = inset;
    if (this.isFitted) this.fit();
    else {
      this.x = width / 2 - middle.x * this.scale;
      this.y = height / 2 - middle.y * this.scale;
      this.#keepInSight();
    }
  }

  show(picture) {
    this.picture = { width: picture.width, height: picture.height };
    this.fit();
  }

  fit() {
    const height = this.canvas.height - this.inset;
    this.scale = this.#fittingScale();
    this.x = (this.canvas.width - this.picture.width * this.scale) / 2;
    this.y = (height - this.picture.height * this.scale) / 2;
    this.isFitted = true;
  }

  /** Zooms so that what is at (x, y) of the canvas stays there. */
  zoom(factor, x = this.canvas.width / 2, y = this.canvas.height / 2) {
    const at = this.toPicture(x, y);
    const least = Math.min(this.#fittingScale(), 1);
    this.scale = Math.min(Math.max(this.scale * factor, least), MAX_SCALE);
    if (this.scale === least) return this.fit();
    this.x = x - at.x * this.scale;
    this.y = y - at.y * this.scale;
    this.isFitted = false;
    this.#keepInSight();
  }

  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.isFitted = false;
    this.#keepInSight();
  }

  bringIntoSight({ x, y }) {
    const at = this.toCanvas(x, y);
    const { width, height } = this.canvas;
    if (at.x < 0 || at.y < 0 || at.x > width || at.y > height - this.inset) {
      this.pan(width / 2 - at.x, (height - this.inset) / 2 - at.y);
    }
  }

  toPicture(x, y) {
    return { x: (x - this.x) / this.scale, y: (y - this.y) / this.scale };
  }

  toCanvas(x, y) {
    return { x: x * this.scale + this.x, y: y * this.scale + this.y };
  }

  /** The pixel at (x, y) of the canvas; null beside the picture. */
  pixelAt(x, y) {
    const at = this.toPicture(x, y);
    if (at.x < 0 || at.y < 0 || at.x >= this.picture.width || at.y >= this.picture.height) return null;
    return this.nearestPixel(at);
  }

  /** Turns a box on the canvas, drawn from any corner, into one on the picture. */
  boxOf({ x0, y0, x1, y1 }) {
    const [a, b] = [this.toPicture(x0, y0), this.toPicture(x1, y1)];
    const { width, height } = this.picture;
    const clamp = (value, most) => Math.min(Math.max(Math.round(value), 0), most);
    return {
      x0: clamp(Math.min(a.x, b.x), width),
      y0: clamp(Math.min(a.y, b.y), height),
      x1: clamp(Math.max(a.x, b.x), width),
      y1: clamp(Math.max(a.y, b.y), height),
    };
  }

  /** The pixel of the picture that is nearest to a point, which may lie beside it. */
  nearestPixel({ x, y }) {
    const { width, height } = this.picture;
    return {
      x: Math.min(Math.max(Math.floor(x), 0), width - 1),
      y: Math.min(Math.max(Math.floor(y), 0), height - 1),
    };
  }

  #fittingScale() {
    const width = Math.max(this.canvas.width - 2 * MARGIN, 1);
    const height = Math.max(this.canvas.height - this.inset - 2 * MARGIN, 1);
    return Math.min(width / this.picture.width, height / this.picture.height, MAX_SCALE);
  }

  #keepInSight() {
    const clamp = (at, size, room) => Math.min(Math.max(at, 80 - size), room - 80);
    this.x = clamp(this.x, this.picture.width * this.scale, this.canvas.width);
    this.y = clamp(this.y, this.picture.height * this.scale, this.canvas.height);
  }
}
