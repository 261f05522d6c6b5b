// What clicks and drags on the picture mean: "add", "remove", "box" or "pan", by the toolbar's button.

const buttons = document.querySelectorAll("button[data-mode]");

export let mode = "add";

/** @param {() => void} changed is called after another mode was chosen. */
export function watchModes(changed) {
  for (const button of buttons) {
    button.addEventListener("click", () => {
      mode = button.dataset.mode;
      document.body.dataset.mode = mode;
      for (const each of buttons) each.setAttribute("aria-pressed", String(each === button));
      changed();
    });
  }
}
