// Draws the picture, the masks and what marks them.

import { Layer, PhotoLayer } from "./layers.js";
import { DrawnMasks } from "./masks.js";

const FILL = 0.45;
const HOVER_FILL = 0.25;

/** Canvases that are drawn anew, at most once a frame, when something has changed. */
export class Scene {
  /** @param {() => object} describe what is to be drawn now; see `#draw`. */
  constructor({ photo, masks }, viewport, describe) {
    this.photo = new PhotoLayer(photo);
    this.masks = new Layer(masks);
    this.context = this.masks.context;
    this.drawnMasks = new DrawnMasks();
    this.viewport = viewport;
    this.describe = describe;
    this.isAsked = false;
  }

  changed() {
    if (this.isAsked) return;
    this.isAsked = true;
    requestAnimationFrame(() => {
      this.isAsked = false;
      this.#draw(this.describe());
    });
  }

  #draw({ bitmap, objects, hover, rubberBand, crosshair, selectedId }) {
    const { context, viewport } = this;
    const density = window.devicePixelRatio || 1;
    this.photo.draw(bitmap, viewport, density);
    this.masks.begin(viewport, density);
    if (!bitmap) return;

    for (const { outline, colour, id } of objects) {
      const lineWidth = id === selectedId ? 2.5 : 1.5;
      if (outline) this.#drawMask(density, outline, { colour, opacity: FILL, lineWidth });
    }
    if (hover?.outline) {
      const { outline, colour } = hover;
      this.#drawMask(density, outline, { colour, opacity: HOVER_FILL, lineWidth: 1, dash: [5, 4] });
    }
    if (this.drawnMasks.endFrame()) this.changed();

    for (const { points, box, colour, id, outline } of objects) {
      const isMarked = id === selectedId || !outline; // The others show their masks alone.
      if (isMarked && box) this.#drawBox(box, colour);
      if (isMarked) for (const point of points) this.#drawPoint(point, colour);
    }
    if (rubberBand) this.#drawBox(rubberBand.box, rubberBand.colour);
    if (crosshair) this.#drawCrosshair(crosshair);
  }

  #drawMask(density, outline, style) {
    this.context.save();
    this.context.resetTransform();
    this.drawnMasks.draw(this.context, this.viewport, density, outline, style);
    this.context.restore();
  }

  #drawBox([x0, y0, x1, y1], colour) {
    const { context, viewport } = this;
    const [from, to] = [viewport.toCanvas(x0, y0), viewport.toCanvas(x1, y1)];
    context.beginPath();
    context.roundRect(from.x, from.y, to.x - from.x, to.y - from.y, 3);
    context.strokeStyle = "rgb(255 255 255 / 85%)";
    context.lineWidth = 4;
    context.stroke();
    context.strokeStyle = colour;
    context.lineWidth = 2;
    context.stroke();
  }

  #drawPoint({ x, y, label }, colour) {
    const { context, viewport } = this;
    const at = viewport.toCanvas(x + 0.5, y + 0.5);
    context.beginPath();
    context.arc(at.x, at.y, 8, 0, 2 * Math.PI);
    context.fillStyle = label ? colour : "#fff";
    context.fill();
    context.lineWidth = 2;
    context.strokeStyle = label ? "#fff" : colour;
    context.stroke();
    context.beginPath();
    context.moveTo(at.x - 3.5, at.y);
    context.lineTo(at.x + 3.5, at.y);
    if (label) {
      context.moveTo(at.x, at.y - 3.5);
      context.lineTo(at.x, at.y + 3.5);
    }
    context.stroke();
  }

  #drawCrosshair({ x, y }) {
    const { context, viewport } = this;
    const at = viewport.toCanvas(x + 0.5, y + 0.5);
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(at.x + dx * 5, at.y + dy * 5);
      context.lineTo(at.x + dx * 18, at.y + dy * 18);
    }
    context.lineCap = "round";
    context.strokeStyle = "#000";
    context.lineWidth = 4;
    context.stroke();
    context.strokeStyle = "#fff";
    context.lineWidth = 2;
    context.stroke();
    context.lineCap = "butt";
  }
}
