// Light or dark as somebody chose it here before; runs before the first paint, so that nothing flashes.

(() => {
  try {
    const chosen = localStorage.getItem("ovseg.theme");
    if (chosen) document.documentElement.dataset.theme = chosen;
  } catch {
    // Storage is closed to this page; the system's choice holds.
  }
})();
