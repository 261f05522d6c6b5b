// The list of keys.

import { byId, make } from "./dom.js";
import { KEYS } from "./keyboard.js";
import { t } from "./messages.js";

export function showHelp() {
  byId("keys").replaceChildren(
    ...KEYS.map(([key, name]) => make("div", {}, make("dt", {}, make("kbd", {}, key)), make("dd", {}, t(name)))),
  );
  byId("help-dialog").showModal();
}
