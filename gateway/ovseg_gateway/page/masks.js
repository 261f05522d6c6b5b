// Masks on a canvas. Stroking a long outline takes many times as long as filling it, so that a new
// mask is filled at once and stroked a frame later, and no mask is stroked again without need.

const PADDING = 4; // Around a mask, for its line, in CSS pixels.

/** Masks as they were drawn in the last frame. */
export class DrawnMasks {
  #last = new Map(); // By outline: {key, canvas, left, top}; in pixels of the device.
  #now = new Map();

  /** @returns {boolean} whether some mask has no line yet: one more frame is needed. */
  endFrame() {
    const isUnfinished = [...this.#now.keys()].some((outline) => !this.#last.has(outline));
    this.#last = this.#now;
    this.#now = new Map();
    return isUnfinished;
  }

  /** @param style {colour, opacity, lineWidth and dash in CSS pixels} */
  draw(context, viewport, density, outline, style) {
    const place = { scale: viewport.scale * density, x: viewport.x * density, y: viewport.y * density };
    const { width, height } = context.canvas;
    const key = JSON.stringify([place, width, height, style]);
    const last = this.#last.get(outline);
    let drawn = { key };
    if (last?.key === key) {
      drawn = last.canvas ? last : { key, ...copyOf(outline, style, place, density, width, height) };
      if (drawn.canvas) context.drawImage(drawn.canvas, drawn.left, drawn.top);
    } else {
      // A first time, or while the picture is moved.
      context.save();
      context.setTransform(place.scale, 0, 0, place.scale, place.x, place.y);
      fillMask(context, outline, style);
      if (last) strokeMask(context, outline, style, density / place.scale);
      context.restore();
    }
    this.#now.set(outline, drawn);
  }
}

/** What of a mask lies on a canvas of that size, on a canvas of its own. */
function copyOf(outline, style, { scale, x, y }, density, width, height) {
  const [x0, y0, boxWidth, boxHeight] = outline.box;
  const padding = (PADDING + style.lineWidth) * density;
  const left = Math.max(0, Math.floor(x + x0 * scale - padding));
  const top = Math.max(0, Math.floor(y + y0 * scale - padding));
  const right = Math.min(width, Math.ceil(x + (x0 + boxWidth) * scale + padding));
  const bottom = Math.min(height, Math.ceil(y + (y0 + boxHeight) * scale + padding));
  if (right <= left || bottom <= top) return {};
  const canvas = document.createElement("canvas");
  canvas.width = right - left;
  canvas.height = bottom - top;
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, x - left, y - top);
  fillMask(context, outline, style);
  strokeMask(context, outline, style, density / scale);
  return { canvas, left, top };
}

/** The context is in pixels of the picture. */
export function fillMask(context, outline, { colour, opacity }) {
  context.globalAlpha = opacity;
  context.fillStyle = colour;
  context.fill(outline.area, "evenodd");
  context.globalAlpha = 1;
}

/** The context is in pixels of the picture, of which `unit` are as long as one of the line's width. */
export function strokeMask(context, outline, { colour, lineWidth, dash = [] }, unit) {
  context.setLineDash(dash.map((length) => length * unit));
  context.globalAlpha = 0.9;
  context.lineJoin = "round";
  context.strokeStyle = "#fff";
  context.lineWidth = lineWidth * 1.8 * unit;
  context.stroke(outline.line);
  context.globalAlpha = 1;
  context.strokeStyle = colour;
  context.lineWidth = lineWidth * unit;
  context.stroke(outline.line);
  context.setLineDash([]);
}
