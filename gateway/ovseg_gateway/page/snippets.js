// The request of an object, as something to paste: it gives the same mask.

import { isAmbiguous, promptOf } from "./answers.js";
import { PATH } from "./api.js";

/** @param {{name: string}} picture @param index which of the answer's masks is shown. */
export function curlOf(object, picture, hasToken) {
  const rest = JSON.stringify(requestOf(object)).slice(1, -1);
  const lines = [
    `(printf '{"image":"'; base64 < ${shellQuoted(picture.name)} | tr -d '\\n';`,
    ` printf '%s' ${shellQuoted(`",${rest}}`)}) |`,
    `curl -H 'Content-Type: application/json' \\`,
  ];
  if (hasToken) lines.push(`     -H "Authorization: Bearer $OVSEG_TOKEN" \\`);
  lines.push(`     --data-binary @- ${url()}`);
  return `${lines.join("\n")}\n`;
}

export function pythonOf(object, picture, hasToken, index) {
  const request = requestOf(object);
  const token = hasToken ? `    headers={"Authorization": f"Bearer {os.environ['OVSEG_TOKEN']}"},\n` : "";
  return `import base64${hasToken ? "\nimport os" : ""}

import httpx
from pycocotools import mask

photo = base64.b64encode(open(${pythonText(picture.name)}, "rb").read()).decode()
answer = httpx.post(
    "${url()}",
    json={
        "image": photo,
        "prompts": ${JSON.stringify(request.prompts)},
        "multimask": ${request.multimask ? "True" : "False"},
        "visualize": False,
    },
${token}    timeout=60,
)
answer.raise_for_status()
pixels = mask.decode(answer.json()["result"]["masks"][${index}])  # uint8 [height, width]
`;
}

function requestOf(object) {
  return { prompts: [promptOf(object)], multimask: isAmbiguous(object), visualize: false };
}

function url() {
  return new URL(PATH, document.baseURI).href;
}

function shellQuoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function pythonText(text) {
  return JSON.stringify(text); // JSON's escapes of text are Python's too.
}
