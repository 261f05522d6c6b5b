#!/usr/bin/env bash
# The mask of the object in a box, with curl.
set -euo pipefail

{
  printf '{"promptType": "box", "prompt": [[150, 12, 300, 150]], "visualize": false, "image": "'
  base64 < examples/photo.jpg | tr -d '\n'
  printf '"}'
} | curl --silent --show-error --fail-with-body \
  --header 'Content-Type: application/json' --data-binary @- \
  "${OVSEG_URL:-http://localhost:8080}/open-vocabulary-segmentation"
