// Short ways to find and make elements.

export function byId(id) {
  return document.getElementById(id);
}

/** `make("button", {class: "soft", "aria-label": "…"}, "text", child, …)` */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Calls `action` after two frames, when what has been drawn by now is on the screen. */
export function afterPaint(action) {
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(action)));
}

/** One of the pictograms of index.html. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true"); // The button has the name.
  svg.appendChild(document.createElementNS(svg.namespaceURI, "use")).setAttribute("href", `#i-${name}`);
  return svg;
}
