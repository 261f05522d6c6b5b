// Puts the page together: what is shown, and what every action does.

import { Answers, promptKey, shownIndex } from "./answers.js";
import { PictureSession, Service } from "./api.js";
import { Crosshair } from "./crosshair.js";
import { afterPaint, byId } from "./dom.js";
import { drawExport, shownObjects, watchExport } from "./export.js";
import { showHelp } from "./help.js";
import { HoverPreview } from "./hover.js";
import { watchKeys } from "./keyboard.js";
import { t, watchLanguage } from "./messages.js";
import { mode, watchModes } from "./mode.js";
import { announce, askForToken, hideNotice, showError, showNotice, whileBusy } from "./notices.js";
import { Objects } from "./objects.js";
import { drawPanel, factsOf, nameOf } from "./panel.js";
import { Picture, watchForPictures, watchForSamples } from "./picture.js";
import { watchPointers } from "./pointer.js";
import { Scene } from "./scene.js";
import { watchTheme } from "./theme_switch.js";
import { TimingStrip } from "./timing.js";
import { Viewport } from "./viewport.js";

const canvas = byId("canvas");
const service = new Service(askForToken);
const objects = new Objects(objectsChanged);
const viewport = new Viewport();
const crosshair = new Crosshair(viewport);
const timing = new TimingStrip();
const hover = new HoverPreview(
  (object) => answers?.peek(object),
  (object, options) => answers.find(object, options),
  (preview) => {
    if (preview || view.hover) scene.changed();
    view.hover = preview;
  },
);

let picture = null;
let answers = null;
let failed = new Set(); // Keys of prompts that got no answer since the last change.

const view = {
  hover: null,
  band: null, // The box that is being drawn.
};

const scene = new Scene({ photo: byId("photo"), masks: canvas }, viewport, () => ({
  bitmap: picture?.bitmap,
  selectedId: objects.selectedId,
  objects: objects.list.filter(({ isVisible }) => isVisible).map(drawn),
  hover: view.hover && drawn(view.hover.object),
  rubberBand: rubberBand(),
  crosshair: document.activeElement === canvas ? crosshair.pixel : null,
}));

function drawn(object) {
  const candidates = answers.peek(object);
  return { ...object, outline: candidates?.[shownIndex(object, candidates)].outline };
}

function rubberBand() {
  const band = view.band ?? crosshair.band;
  return band && { box: [band.x0, band.y0, band.x1, band.y1], colour: objects.nextColour };
}

// Pictures

async function openPicture(file) {
  hideNotice();
  hover.stop();
  let opened;
  try {
    opened = await whileBusy("busy.opening", () => Picture.open(file));
  } catch {
    showNotice("error.unreadable", file.name);
    return;
  }
  picture?.close();
  picture = opened;
  objects.clear();
  timing.clear();
  failed.clear();
  crosshair.hide();
  view.band = null;
  const own = new Answers(new PictureSession(service, file), (times) => {
    if (own !== answers) return;
    timing.note(times);
    afterPaint(() => timing.draw());
  });
  answers = own;
  document.body.classList.add("has-picture");
  canvas.dataset.size = JSON.stringify([picture.width, picture.height]);
  viewport.show(picture);
  draw();
  // A first prompt has the picture encoded before anybody clicks.
  const middle = { x: Math.floor(picture.width / 2), y: Math.floor(picture.height / 2), label: 1 };
  try {
    await whileBusy("busy.encoding", () => own.find({ points: [middle], box: null }, { patient: true }));
    if (own === answers) announce(t("announce.ready"));
  } catch (error) {
    if (own === answers) showError(error);
  }
}

// Objects

function objectsChanged() {
  hideNotice();
  failed = new Set();
  for (const object of objects.list) if (!answers.peek(object)) findMask(object);
  const keys = objects.list.map(promptKey);
  hover.stop((object) => keys.includes(promptKey(object)));
  draw();
}

async function findMask(object) {
  const own = answers;
  try {
    const candidates = await whileBusy("busy.asking", () => own.find(object, { patient: true }));
    if (own !== answers) return;
    // The mask is what somebody waits for; words and small pictures of it come after.
    scene.changed();
    afterPaint(() => {
      if (own !== answers) return;
      drawDetails();
      announceMask(object, candidates);
    });
  } catch (error) {
    if (own !== answers) return;
    failed.add(promptKey(object));
    showError(error);
    draw();
  }
}

function announceMask(object, candidates) {
  const facts = factsOf(candidates[shownIndex(object, candidates)]);
  announce(t("announce.mask", { name: nameOf(object), facts }));
}

function mark(pixel, label) {
  if (label === 0 && !objects.selected) return showNotice("error.background");
  objects.addPoint({ ...pixel, label });
  const known = answers.peek(objects.selected); // The preview had asked.
  if (known) announceMask(objects.selected, known);
}

function markBox({ x0, y0, x1, y1 }) {
  if (x1 > x0 && y1 > y0) objects.addBox([x0, y0, x1, y1]);
}

function newObject() {
  objects.select(null);
  announce(t("announce.new"));
}

function preview(pixel, label, isPressed = false) {
  const isWanted = byId("hover").checked && picture && answers.session.isHeld && pixel;
  if (!isWanted || (label === 0 && !objects.selected)) return hover.stop();
  const object = objects.withPoint({ ...pixel, label });
  if (isPressed) hover.press(object);
  else hover.want(object);
}

function previewAt({ x, y, isBackground }, isPressed) {
  crosshair.hide();
  const isOff = mode === "box" || mode === "pan";
  preview(isOff ? null : viewport.pixelAt(x, y), isBackground ? 0 : 1, isPressed);
}

// Drawing

function draw() {
  scene.changed();
  drawDetails();
}

function drawDetails() {
  timing.draw();
  byId("undo").disabled = !objects.canUndo;
  byId("redo").disabled = !objects.canRedo;
  if (!picture) return;
  drawPanel(objects, answers, picture, (object) => failed.has(promptKey(object)));
  drawExport(shownObjects(objects, answers));
}

function moved() {
  hover.stop();
  scene.changed();
}

function zoom(factor, x, y) {
  viewport.zoom(factor, x, y);
  moved();
}

function fit() {
  viewport.fit();
  moved();
}

// Actions of the pointer and of keys

const withPicture = (action) => (...values) => picture && action(...values);

const keys = watchKeys(canvas, {
  newObject: withPicture(newObject),
  open: () => byId("file").click(),
  toggleHover: () => byId("hover").click(),
  help: showHelp,
  zoom: withPicture(zoom),
  fit: withPicture(fit),
  selectNext: withPicture((offset) => objects.selectNext(offset)),
  choose: withPicture((k) => {
    const { selected } = objects;
    if (selected && k < (answers.peek(selected)?.length ?? 0)) objects.choose(selected.id, k);
  }),
  remove: withPicture(() => objects.selected && objects.remove(objects.selectedId)),
  undo: withPicture(() => objects.undo()),
  redo: withPicture(() => objects.redo()),
  escape: withPicture(() => {
    if (crosshair.corner) crosshair.corner = null;
    else if (objects.selected) objects.select(null);
    hideNotice();
    moved();
  }),
  crosshair: withPicture((dx, dy) => {
    crosshair.move(dx, dy);
    if (!crosshair.corner) preview(crosshair.pixel, 1);
    scene.changed();
  }),
  mark: withPicture((label) => crosshair.pixel && mark(crosshair.pixel, label)),
  corner: withPicture(() => {
    const { band } = crosshair;
    if (band) {
      crosshair.corner = null;
      markBox(band);
    } else if (crosshair.pixel) {
      crosshair.begin();
      announce(t("announce.corner"));
      moved();
    }
  }),
});

watchPointers(canvas, {
  mode: () => mode,
  isPanKeyDown: keys.isPanKeyDown,
  click: withPicture(({ x, y, isBackground }) => {
    const pixel = viewport.pixelAt(x, y);
    if (pixel) mark(pixel, isBackground ? 0 : 1);
  }),
  press: withPicture((place) => previewAt(place, true)),
  hover: withPicture((place) => (place ? previewAt(place) : hover.stop())),
  boxing: withPicture((band) => {
    view.band = band && viewport.boxOf(band);
    scene.changed();
  }),
  box: withPicture((band) => markBox(viewport.boxOf(band))),
  pan: withPicture((dx, dy) => {
    viewport.pan(dx, dy);
    moved();
  }),
  zoom: withPicture(zoom),
});

// Buttons

const onClick = (id, action) => byId(id).addEventListener("click", () => action());
for (const id of ["choose", "open-other"]) onClick(id, () => byId("file").click());
onClick("undo", () => objects.undo());
onClick("redo", () => objects.redo());
onClick("zoom-in", () => zoom(1.25));
onClick("zoom-out", () => zoom(0.8));
onClick("zoom-fit", fit);
onClick("new-object", newObject);
onClick("notice-close", hideNotice);
onClick("help", showHelp);
byId("hover").addEventListener("change", () => hover.stop());
watchModes(() => hover.stop());
watchTheme(byId("theme"));
watchForPictures(byId("file"), openPicture);
watchForSamples(openPicture, (error) => showNotice("error.sample", error.message));
watchExport(() => ({
  shown: shownObjects(objects, answers),
  selectedId: objects.selectedId,
  picture,
  hasToken: service.token !== null,
}));
new ResizeObserver(([{ contentRect: { width, height } }]) => {
  viewport.resize(width, height, 72);
  scene.changed();
}).observe(canvas);
// Only the crosshair is drawn while the canvas has the focus.
for (const event of ["focus", "blur"]) canvas.addEventListener(event, () => crosshair.pixel && scene.changed());
watchLanguage(byId("language"), draw);
draw();
