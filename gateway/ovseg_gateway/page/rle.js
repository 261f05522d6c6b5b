// Masks in COCO's compressed run-length encoding: runs of 0s and 1s in turn, starting with 0s,
// down each column, one column after the other.

/** Lengths of the runs that `counts` holds; they sum up to height x width. */
export function parseCounts(counts) {
  const runs = [];
  let at = 0;
  while (at < counts.length) {
    // Five bits a character, the lowest first; bit 6 says that more follow, and the last one's
    // fifth bit is the sign.
    let value = 0;
    let shift = 0;
    let bits;
    do {
      bits = counts.charCodeAt(at++) - 48;
      value |= (bits & 31) << shift;
      shift += 5;
    } while (bits & 32);
    if (bits & 16) value |= -1 << shift;
    // From the fourth on, a length is told as the difference to the one before last.
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(value);
  }
  return runs;
}

/** A mask as the service answers it, `{size: [height, width], counts}`. */
export class Mask {
  constructor({ size, counts }) {
    [this.height, this.width] = size;
    this.counts = counts;
    this.runs = parseCounts(counts);
  }

  /** Number of its pixels. */
  get area() {
    return this.runs.reduce((sum, length, k) => (k % 2 ? sum + length : sum), 0);
  }

  /** Calls `visit(column, top, bottom)` for each vertical stretch of pixels, bottom excluded. */
  forEachStretch(visit) {
    const { height, runs } = this;
    let start = 0;
    for (let k = 0; k < runs.length; k++) {
      const end = start + runs[k];
      if (k % 2) {
        for (let at = start; at < end; ) {
          const column = Math.floor(at / height);
          const next = Math.min(end, (column + 1) * height);
          visit(column, at - column * height, next - column * height);
          at = next;
        }
      }
      start = end;
    }
  }

  /** The smallest box around it, [x, y, width, height] as COCO has it; zeros if it is empty. */
  get box() {
    let [x0, y0, x1, y1] = [Infinity, Infinity, 0, 0];
    this.forEachStretch((column, top, bottom) => {
      x0 = Math.min(x0, column);
      x1 = Math.max(x1, column + 1);
      y0 = Math.min(y0, top);
      y1 = Math.max(y1, bottom);
    });
    return x1 ? [x0, y0, x1 - x0, y1 - y0] : [0, 0, 0, 0];
  }

  /** All its pixels, row by row: 1 in the mask, else 0. */
  pixels() {
    const pixels = new Uint8Array(this.width * this.height);
    this.forEachStretch((column, top, bottom) => {
      for (let y = top; y < bottom; y++) pixels[y * this.width + column] = 1;
    });
    return pixels;
  }

  /**
   * A smaller copy, of at most `maxSide` pixels a side, made without ever making the large one.
   * @returns {{width: number, height: number, columns: Uint8Array}} column by column.
   */
  sampled(maxSide) {
    const factor = Math.min(1, maxSide / Math.max(this.width, this.height));
    const width = Math.max(1, Math.round(this.width * factor));
    const height = Math.max(1, Math.round(this.height * factor));
    const firstColumn = firstSampleAt(this.width, width);
    const firstRow = firstSampleAt(this.height, height);
    const columns = new Uint8Array(width * height);
    this.forEachStretch((column, top, bottom) => {
      const x = firstColumn[column];
      if (firstColumn[column + 1] === x) return; // No sample lies in this column.
      columns.fill(1, x * height + firstRow[top], x * height + firstRow[bottom]);
    });
    return { width, height, columns };
  }
}

/** For each of `size` pixels, and the end, the first of `samples` whose middle is not before it. */
function firstSampleAt(size, samples) {
  const first = new Int32Array(size + 1).fill(samples);
  for (let k = samples - 1; k >= 0; k--) first[Math.floor(((k + 0.5) * size) / samples)] = k;
  for (let at = size - 1; at >= 0; at--) if (first[at] === samples) first[at] = first[at + 1];
  return first;
}
