// Draws the picture, the masks and what marks them.

const FILL = 0.45;
const HOVER_FILL = 0.25;

/** A canvas that is drawn anew, at most once a frame, when something has changed. */
export class Scene {
  /** @param {() => object} describe what is to be drawn now; see `#draw`. */
  constructor(canvas, viewport, describe) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
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
    const { context, canvas, viewport } = this;
    const density = window.devicePixelRatio || 1;
    const [width, height] = [viewport.canvas.width * density, viewport.canvas.height * density];
    if (canvas.width !== Math.round(width) || canvas.height !== Math.round(height)) {
      canvas.width = Math.round(width);
      canvas.height = Math.round(height);
    }
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, viewport.canvas.width, viewport.canvas.height);
    if (!bitmap) return;

    context.save();
    context.translate(viewport.x, viewport.y);
    context.scale(viewport.scale, viewport.scale);
    context.imageSmoothingEnabled = viewport.scale < 4;
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, viewport.picture.width, viewport.picture.height);
    const unit = 1 / viewport.scale;
    for (const { outline, colour, id } of objects) {
      if (outline) drawMask(context, outline, colour, FILL, unit * (id === selectedId ? 2.5 : 1.5));
    }
    if (hover?.outline) {
      context.setLineDash([5 * unit, 4 * unit]);
      drawMask(context, hover.outline, hover.colour, HOVER_FILL, unit);
      context.setLineDash([]);
    }
    context.restore();

    for (const { points, box, colour, id, outline } of objects) {
      const isMarked = id === selectedId || !outline; // The others show their masks alone.
      if (isMarked && box) this.#drawBox(box, colour);
      if (isMarked) for (const point of points) this.#drawPoint(point, colour);
    }
    if (rubberBand) this.#drawBox(rubberBand.box, rubberBand.colour);
    if (crosshair) this.#drawCrosshair(crosshair);
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

/** Fills and strokes a mask; the context is in pixels of the picture. */
export function drawMask(context, outline, colour, opacity, lineWidth) {
  context.globalAlpha = opacity;
  context.fillStyle = colour;
  context.fill(outline.area, "evenodd");
  context.globalAlpha = 0.9;
  context.lineJoin = "round";
  context.strokeStyle = "#fff";
  context.lineWidth = lineWidth * 1.8;
  context.stroke(outline.line);
  context.globalAlpha = 1;
  context.strokeStyle = colour;
  context.lineWidth = lineWidth;
  context.stroke(outline.line);
}
