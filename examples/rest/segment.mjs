// The mask of the object in a box, with JavaScript (Node 18 or later, no packages).
import { readFile } from "node:fs/promises";

const server = process.env.OVSEG_URL ?? "http://localhost:8080";
const response = await fetch(`${server}/open-vocabulary-segmentation`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({
    image: await readFile("examples/photo.jpg", "base64"),
    promptType: "box",
    prompt: [[150, 12, 300, 150]],
    visualize: false,
  }),
  signal: AbortSignal.timeout(60_000),
});
const { errorMsg, result } = await response.json();
if (!response.ok) throw new Error(errorMsg);

for (const [i, mask] of result.masks.entries()) {
  const { prompt, score } = result.maskInfos[i];
  console.log(prompt, score, mask.size, mask.counts);
}
