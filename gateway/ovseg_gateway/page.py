"""The page at `/`: what this service is and a first request to paste."""

from __future__ import annotations

HOME_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Promptable segmentation</title>
<style>
  body { max-width: 44rem; margin: 3rem auto; padding: 0 1rem;
         font: 1rem/1.5 system-ui, sans-serif; color: #222; }
  pre { padding: 1rem; overflow-x: auto; background: #f4f4f4; border-radius: .4rem; }
</style>
<h1>Promptable segmentation</h1>
<p>Send an image and boxes or points; get one mask for each.</p>
<pre>
(printf '{"image":"'; base64 -w0 photo.jpg;
 printf '","prompt":[[100,100,300,300]],"promptType":"box"}') |
curl -H 'Content-Type: application/json' --data-binary @- \\
     http://localhost:8080/open-vocabulary-segmentation
</pre>
<p><a href="/docs">API documentation</a> · <a href="/health/ready">readiness</a> ·
<a href="/metrics">metrics</a></p>
</html>
"""
