// The outline of a mask as a path, which stays sharp at every zoom.

const MAX_SIDE = 1024; // SAM's masks hold 256 x 256 values; more detail would be made up.
const ROUNDING = 1.5; // How much of a corner is rounded, in sampled pixels.
const SPECK = 1 / 20; // A line shorter than this part of the longer side is not worth drawing.

const STEPS = [
  [1, 0],
  [0, 1],
  [-1, 0],
  [0, -1],
]; // Right, down, left, up; the mask is on the right hand.

/**
 * Paths around a `Mask`, in pixels of its picture.
 * @returns {{area: Path2D, line: Path2D, box: number[]}} all of it, to be filled; its lines without
 *   those around specks and pinholes, which would hide more than they show; and the mask's box.
 */
export function outlineOf(mask) {
  const { width, height, columns } = mask.sampled(MAX_SIDE);
  const scaleX = mask.width / width;
  const scaleY = mask.height / height;
  const all = contours(width, height, columns);
  const longest = Math.max(...all.map(lengthOf));
  const least = Math.min(Math.max(width, height) * SPECK, longest); // Of a tiny object it is all.
  const [area, line] = [new Path2D(), new Path2D()];
  for (const corners of all) {
    addRounded(area, corners, scaleX, scaleY);
    if (lengthOf(corners) >= least) addRounded(line, corners, scaleX, scaleY);
  }
  return { area, line, box: mask.box };
}

/** The closed lines between pixels in the mask and others; each a list of its corners [x, y]. */
export function contours(width, height, columns) {
  const isIn = (x, y) => x >= 0 && y >= 0 && x < width && y < height && columns[x * height + y] === 1;
  const seen = new Uint8Array(columns.length); // Pixels whose upper edge is part of a contour.
  const found = [];
  for (let x = 0; x < width; x++) {
    let above = 0;
    for (let at = x * height, end = at + height; at < end; at++) {
      const isUpperEdge = columns[at] > above;
      above = columns[at];
      if (isUpperEdge && !seen[at]) found.push(follow(x, at - x * height, isIn, seen, height));
    }
  }
  return found;
}

/** Walks around from the upper left corner of pixel (x, y), along its upper edge first. */
function follow(startX, startY, isIn, seen, height) {
  const corners = [];
  let [x, y, direction] = [startX, startY, 0];
  do {
    if (direction === 0) seen[x * height + y] = 1;
    const [stepX, stepY] = STEPS[direction];
    x += stepX;
    y += stepY;
    // The two pixels ahead, on the left and on the right hand.
    const left = isIn(x + ahead(stepX, stepY), y + ahead(stepY, -stepX));
    const right = isIn(x + ahead(stepX, -stepY), y + ahead(stepY, stepX));
    const turn = left ? 3 : right ? 0 : 1;
    if (turn) corners.push([x, y]);
    direction = (direction + turn) % 4;
  } while (x !== startX || y !== startY || direction !== 0);
  return corners;
}

/** Offset from a grid point to the pixel that lies along `step` and to the side `side`. */
function ahead(step, side) {
  return (step + side - 1) / 2;
}

function lengthOf(corners) {
  return corners.reduce((sum, corner, k) => sum + distance(corners.at(k - 1), corner), 0);
}

function addRounded(path, corners, scaleX, scaleY) {
  let before = corners.at(-1);
  let length = distance(before, corners[0]);
  const startAt = between(corners[0], before, length);
  path.moveTo(startAt[0] * scaleX, startAt[1] * scaleY);
  for (let k = 0; k < corners.length; k++) {
    const corner = corners[k];
    // Along a short edge one curve ends where the next begins.
    if (k && length > 2 * ROUNDING) {
      const from = between(corner, before, length);
      path.lineTo(from[0] * scaleX, from[1] * scaleY);
    }
    const after = corners[k + 1] ?? corners[0];
    length = distance(corner, after);
    const to = between(corner, after, length);
    path.quadraticCurveTo(corner[0] * scaleX, corner[1] * scaleY, to[0] * scaleX, to[1] * scaleY);
    before = corner;
  }
  path.closePath();
}

/** Of two corners, which differ in one coordinate. */
function distance([x0, y0], [x1, y1]) {
  return Math.abs(x1 - x0) + Math.abs(y1 - y0);
}

/** Where the rounding of the corner `from` ends on its edge towards `to`. */
function between(from, to, length) {
  const part = Math.min(0.5, ROUNDING / length);
  return [from[0] + (to[0] - from[0]) * part, from[1] + (to[1] - from[1]) * part];
}
