// Everything on the page by keyboard alone: letters anywhere, arrows on the picture.

const STEP_PX = 8; // Of the crosshair, on the screen.
const BIG_STEP_PX = 48;

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Keys and the names of what they do, as the help lists them. */
export const KEYS = [
  ["← ↑ → ↓", "keys.move"],
  ["Enter", "keys.add"],
  ["X", "keys.remove"],
  ["B", "keys.box"],
  ["N", "keys.new"],
  ["1 2 3", "keys.candidate"],
  ["[ ]", "keys.select"],
  ["Delete", "keys.delete"],
  ["Ctrl Z, Ctrl Y", "keys.undo"],
  ["+ − 0", "keys.zoom"],
  ["Space", "keys.pan"],
  ["P", "keys.hover"],
  ["O", "keys.open"],
  ["Esc", "keys.escape"],
  ["?", "keys.help"],
];

/**
 * @param {object} actions by name; see the calls below. `crosshair(dx, dy)` is in CSS pixels.
 * @returns {{isPanKeyDown: () => boolean}}
 */
export function watchKeys(canvas, actions) {
  let isSpaceDown = false;
  const anywhere = {
    n: actions.newObject,
    o: actions.open,
    p: actions.toggleHover,
    "?": actions.help,
    "+": () => actions.zoom(1.25),
    "=": () => actions.zoom(1.25),
    "-": () => actions.zoom(0.8),
    0: actions.fit,
    "[": () => actions.selectNext(-1),
    "]": () => actions.selectNext(1),
    1: () => actions.choose(0),
    2: () => actions.choose(1),
    3: () => actions.choose(2),
    delete: actions.remove,
    backspace: actions.remove,
    escape: actions.escape,
  };
  const onCanvas = {
    enter: () => actions.mark(1),
    x: () => actions.mark(0),
    b: actions.corner,
  };

  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]") || isTyping(event.target)) return;
    const key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey) {
      if (key === "z" && !event.shiftKey) act(event, actions.undo);
      else if (key === "y" || key === "z") act(event, actions.redo);
      return;
    }
    if (event.altKey) return;
    if (event.target === canvas) {
      if (key === " ") return act(event, () => (isSpaceDown = true));
      const arrow = ARROWS[event.key];
      const size = event.shiftKey ? BIG_STEP_PX : STEP_PX;
      if (arrow) return act(event, () => actions.crosshair(arrow[0] * size, arrow[1] * size));
      if (onCanvas[key]) return act(event, onCanvas[key]);
    }
    if (anywhere[key]) act(event, anywhere[key]);
  });
  document.addEventListener("keyup", (event) => {
    if (event.key === " ") isSpaceDown = false;
  });
  return { isPanKeyDown: () => isSpaceDown };
}

function act(event, action) {
  event.preventDefault();
  action();
}

function isTyping(element) {
  return element.matches?.("input:not([type=checkbox]), textarea, select");
}
