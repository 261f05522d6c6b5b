// Masks to take along: as PNG, as COCO JSON, and what they show cut out of the picture.

import { fillMask, strokeMask } from "./masks.js";

/** White where the mask is, black elsewhere. */
export function maskPng({ mask }) {
  return pngOf(mask.width, mask.height, (context) => {
    const image = context.createImageData(mask.width, mask.height);
    const words = new Uint32Array(image.data.buffer).fill(0xff000000);
    mask.forEachStretch((column, top, bottom) => {
      for (let y = top; y < bottom; y++) words[y * mask.width + column] = 0xffffffff;
    });
    context.putImageData(image, 0, 0);
  });
}

/** What the mask shows, on nothing, as small as it can be. */
export async function cutOutPng({ mask }, picture) {
  const [x0, y0, width, height] = mask.box;
  const bitmap = await picture.wholeBitmap();
  return pngOf(Math.max(width, 1), Math.max(height, 1), (context) => {
    context.drawImage(bitmap, -x0, -y0);
    bitmap.close();
    const image = context.getImageData(0, 0, Math.max(width, 1), Math.max(height, 1));
    const kept = new Uint8Array(image.width * image.height);
    mask.forEachStretch((column, top, bottom) => {
      for (let y = top; y < bottom; y++) kept[(y - y0) * width + column - x0] = 1;
    });
    for (let k = 0; k < kept.length; k++) if (!kept[k]) image.data[4 * k + 3] = 0;
    context.putImageData(image, 0, 0);
  });
}

/** The picture with all masks on it. */
export async function overlayPng(shown, picture) {
  const bitmap = await picture.wholeBitmap();
  return pngOf(picture.width, picture.height, (context) => {
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    const lineWidth = Math.max(picture.width, picture.height) / 400;
    for (const { object, candidate } of shown) {
      const style = { colour: object.colour, opacity: 0.45, lineWidth };
      fillMask(context, candidate.outline, style);
      strokeMask(context, candidate.outline, style, 1);
    }
  });
}

/** All masks as COCO annotations; `names` are those of the objects. */
export function cocoJson(shown, picture, names) {
  const categories = [...new Set(names)].map((name, k) => ({ id: k + 1, name }));
  const annotations = shown.map(({ candidate: { rle, mask, score } }, k) => ({
    id: k + 1,
    image_id: 1,
    category_id: categories.find(({ name }) => name === names[k]).id,
    segmentation: rle,
    area: mask.area,
    bbox: mask.box,
    iscrowd: 0,
    ...(score === undefined ? {} : { score }),
  }));
  const image = { id: 1, file_name: picture.name, width: picture.width, height: picture.height };
  const text = JSON.stringify({ images: [image], categories, annotations }, null, 1);
  return new Blob([`${text}\n`], { type: "application/json" });
}

/** Hands a file to the browser to be saved. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** @throws {RangeError} the browser has no canvas that large. */
async function pngOf(width, height, draw) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  if (!context) throw new RangeError("The picture is too large for this browser");
  draw(context);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  if (!blob) throw new RangeError("The picture is too large for this browser");
  return blob;
}
