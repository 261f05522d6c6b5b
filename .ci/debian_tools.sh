#!/usr/bin/env bash
# Programs of Debian that some tests need, and are skipped without: Chromium, nginx, promtool. The
# last two are only unpacked, so that no service is started. Whatever fails is one line; CI goes on.
set -uo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/build/debian

if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
  mkdir -p "$tools/packages"
  {
    apt-get update -qq
    command -v chromium || apt-get install -yqq --no-install-recommends chromium
    (cd "$tools/packages" && apt-get download nginx prometheus)
    for package in "$tools"/packages/*.deb; do dpkg -x "$package" "$tools"; done
  } > "$tools/log.txt" 2>&1
fi
for program in chromium nginx promtool; do
  PATH="$tools/usr/sbin:$tools/usr/bin:$PATH" command -v "$program" > /dev/null \
    || echo "no $program: its tests are skipped" >&2
done
