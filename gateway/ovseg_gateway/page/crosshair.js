// The keyboard's pointer: a pixel of the picture, moved by arrow keys.

export class Crosshair {
  constructor(viewport) {
    this.viewport = viewport;
    this.hide();
  }

  hide() {
    this.pixel = null;
    this.corner = null; // Where a box was begun.
  }

  /** Moves it by CSS pixels, at least one pixel of the picture; it starts from the middle. */
  move(dx, dy) {
    const { viewport } = this;
    const { width, height } = viewport.picture;
    const from = this.pixel ?? { x: Math.floor(width / 2), y: Math.floor(height / 2) };
    const step = (distance) => Math.sign(distance) * Math.ceil(Math.abs(distance) / viewport.scale);
    this.pixel = viewport.nearestPixel({ x: from.x + step(dx), y: from.y + step(dy) });
    viewport.bringIntoSight(this.pixel);
  }

  begin() {
    this.corner = this.pixel;
  }

  /** The box between where it was begun and the crosshair, whose pixel is in it. */
  get band() {
    if (!this.corner) return null;
    const { corner, pixel } = this;
    return {
      x0: Math.min(corner.x, pixel.x),
      y0: Math.min(corner.y, pixel.y),
      x1: Math.max(corner.x, pixel.x) + 1,
      y1: Math.max(corner.y, pixel.y) + 1,
    };
  }
}
