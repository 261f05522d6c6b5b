// Mouse, pen and fingers on the picture, told as what they mean.

const DRAG_PX = { mouse: 5, pen: 8, touch: 12 }; // Less than that is a click.
const ZOOM_PER_PX = 0.0018;

/**
 * @param {HTMLCanvasElement} canvas
 * @param {object} handlers press and click({x, y, isBackground}), hover({x, y, isBackground} | null), boxing({x0, …} | null),
 *   box({x0, y0, x1, y1}), pan(dx, dy), zoom(factor, x, y), mode(): string, isPanKeyDown(): boolean.
 *   Coordinates are CSS pixels of the canvas.
 */
export function watchPointers(canvas, handlers) {
  const down = new Map(); // Pointers that touch, by id.
  let gesture = null; // "maybe click" | "box" | "pan" | "pinch" | "over"

  const placeOf = (event) => {
    const frame = canvas.getBoundingClientRect();
    return { x: event.clientX - frame.left, y: event.clientY - frame.top };
  };

  const marksBackground = (event) =>
    event.button === 2 || event.altKey || event.ctrlKey || handlers.mode() === "remove";

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    const place = placeOf(event);
    down.set(event.pointerId, { start: place, now: place });
    if (down.size === 2) {
      handlers.boxing(null);
      gesture = "pinch";
    } else if (down.size === 1) {
      const pans = event.button === 1 || handlers.isPanKeyDown() || handlers.mode() === "pan";
      gesture = pans ? "pan" : "maybe click";
      if (event.button === 1) event.preventDefault(); // The browser's own scrolling.
    }
    const isPress = gesture === "maybe click" && event.pointerType !== "touch"; // A finger may want to pinch.
    if (isPress) handlers.press({ ...place, isBackground: marksBackground(event) });
    else handlers.hover(null);
  });

  canvas.addEventListener("pointermove", (event) => {
    const place = placeOf(event);
    const pointer = down.get(event.pointerId);
    if (!pointer) {
      if (event.pointerType !== "touch") handlers.hover({ ...place, isBackground: marksBackground(event) });
      return;
    }
    const before = pointer.now;
    if (gesture === "pinch") {
      pinch(pointer, place);
      return;
    }
    pointer.now = place;
    const { start } = pointer;
    if (gesture === "maybe click" && !(event.buttons & 2)) {
      const far = Math.hypot(place.x - start.x, place.y - start.y);
      if (far > (DRAG_PX[event.pointerType] ?? 5)) {
        gesture = "box";
        handlers.hover(null);
      }
    }
    if (gesture === "box") handlers.boxing({ x0: start.x, y0: start.y, x1: place.x, y1: place.y });
    if (gesture === "pan") handlers.pan(place.x - before.x, place.y - before.y);
  });

  const release = (event) => {
    const pointer = down.get(event.pointerId);
    if (!pointer) return;
    down.delete(event.pointerId);
    const { start, now } = pointer;
    const isCancelled = event.type === "pointercancel";
    if (gesture === "box") {
      handlers.boxing(null);
      if (!isCancelled) handlers.box({ x0: start.x, y0: start.y, x1: now.x, y1: now.y });
    }
    if (gesture === "maybe click" && !isCancelled && handlers.mode() !== "box") {
      handlers.click({ ...start, isBackground: marksBackground(event) });
    }
    // The finger that is still down after a pinch does nothing more.
    gesture = down.size ? "over" : null;
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => handlers.hover(null));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());

  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const { x, y } = placeOf(event);
      const pixels = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * 16 : event.deltaY;
      if (event.shiftKey) handlers.pan(-event.deltaY, -event.deltaX);
      // Two fingers on a touchpad come as a wheel with the control key, in small steps.
      else handlers.zoom(Math.exp(-pixels * ZOOM_PER_PX * (event.ctrlKey ? 6 : 1)), x, y);
    },
    { passive: false },
  );

  function pinch(pointer, place) {
    const [a, b] = [...down.values()];
    const before = spread(a.now, b.now);
    pointer.now = place;
    const after = spread(a.now, b.now);
    handlers.pan(after.x - before.x, after.y - before.y);
    if (before.size > 0) handlers.zoom(after.size / before.size, after.x, after.y);
  }
}

function spread(a, b) {
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, size: Math.hypot(a.x - b.x, a.y - b.y) };
}
