// The canvases that lie on each other: the photo at the bottom, what is drawn on it above.

/** A canvas as large as the viewport, drawn in its CSS pixels. */
export class Layer {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
  }

  /** Empties it. */
  begin(viewport, density) {
    const { canvas, context } = this;
    const [width, height] = [viewport.canvas.width * density, viewport.canvas.height * density].map(Math.round);
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, viewport.canvas.width, viewport.canvas.height);
  }
}

/** Scaling a photo well takes longer than all else that is drawn, so that a new mask leaves it as it is. */
export class PhotoLayer extends Layer {
  #drawn = []; // What it depends on, when it was last drawn.

  draw(bitmap, viewport, density) {
    const { x, y, scale, picture } = viewport;
    const wanted = [bitmap, x, y, scale, viewport.canvas.width, viewport.canvas.height, density];
    if (wanted.every((value, k) => value === this.#drawn[k])) return;
    this.#drawn = wanted;
    this.begin(viewport, density);
    if (!bitmap) return;
    const { context } = this;
    context.imageSmoothingEnabled = scale < 4;
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, x, y, picture.width * scale, picture.height * scale);
  }
}
