// The button that turns light into dark and back; see theme.js for what was chosen before.

const KEY = "ovseg.theme";

export function watchTheme(button) {
  button.addEventListener("click", () => {
    const root = document.documentElement;
    const isDark = (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    root.dataset.theme = isDark ? "light" : "dark";
    try {
      localStorage.setItem(KEY, root.dataset.theme);
    } catch {
      // Then it holds until the page is left.
    }
  });
}
