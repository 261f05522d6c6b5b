// Pictures as they come in: dropped, pasted, chosen, or one of the samples.

const MAX_SHOWN_SIDE = 4096; // Larger ones are shown smaller; what is sent is the file itself.
const SMALL_SIDE = 192;

/** One picture file, opened. Sizes are those of the picture upright, as the service counts. */
export class Picture {
  /** @param bitmap what is shown. @param small the same for thumbnails. */
  constructor(file, bitmap, small, { width, height }) {
    this.file = file;
    this.name = file.name || "picture";
    this.bitmap = bitmap;
    this.small = small;
    this.width = width;
    this.height = height;
  }

  /** @throws {DOMException} the browser cannot read it. */
  static async open(file) {
    const whole = await createImageBitmap(file); // EXIF orientation is applied.
    const size = { width: whole.width, height: whole.height };
    const shown = await atMost(MAX_SHOWN_SIDE, whole);
    if (shown !== whole) whole.close();
    return new Picture(file, shown, await atMost(SMALL_SIDE, shown), size);
  }

  /** All its pixels, for pictures to download. */
  wholeBitmap() {
    return createImageBitmap(this.file);
  }

  close() {
    this.bitmap.close();
    this.small.close();
  }
}

async function atMost(side, bitmap) {
  const factor = side / Math.max(bitmap.width, bitmap.height);
  if (factor >= 1) return bitmap;
  return createImageBitmap(bitmap, {
    resizeWidth: Math.max(1, Math.round(bitmap.width * factor)),
    resizeHeight: Math.max(1, Math.round(bitmap.height * factor)),
    resizeQuality: "medium",
  });
}

/** Calls `take(file)` for every picture that comes in by dropping, pasting or choosing. */
export function watchForPictures(input, take) {
  let depth = 0;
  const mark = (change) => {
    depth = Math.max(0, depth + change);
    document.body.classList.toggle("dropping", depth > 0);
  };
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  document.addEventListener("dragenter", (event) => hasFiles(event) && mark(1));
  document.addEventListener("dragleave", (event) => hasFiles(event) && mark(-1));
  document.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    mark(-depth);
    take(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
    if (file) take(file);
  });
  input.addEventListener("change", () => {
    if (input.files[0]) take(input.files[0]);
    input.value = ""; // So that the same file can be chosen again.
  });
}

/** Calls `take(file)` for every bundled picture that is chosen, `fail(error)` if it does not come. */
export function watchForSamples(take, fail) {
  for (const button of document.querySelectorAll("button[data-sample]")) {
    button.addEventListener("click", () => fetchSample(button.dataset.sample).then(take, fail));
  }
}

async function fetchSample(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  const blob = await response.blob();
  return new File([blob], url.split("/").at(-1), { type: blob.type });
}
