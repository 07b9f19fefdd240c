#!/bin/bash
# `make web`: builds the web app into web/dist, from where `cargo build` takes it into the binary. Does nothing if nothing changed.
#
# Gets node if there is none that is new enough. With --or-not it goes on without: a gateway without its pages is a whole gateway, and
# `cargo build` never needs node.
set -euo pipefail
. "$(dirname "$0")/install.sh"

# What the files in web/dist are made from. A file beside them says what the last ones were made from; none of it is committed.
made_from() {
  find web docs/reference/openapi.json -type f -not -path 'web/node_modules/*' -not -path 'web/dist/*' -not -path 'web/test-results/*' -not -name schema.d.ts -print0 |
    LC_ALL=C sort -z | xargs -0 sha256sum -- | sha256sum | cut -d' ' -f1
}

# cannot WHY: ends it; with --or-not that is no failure.
cannot() {
  echo "    $1: the binary is built without its pages" >&2
  [ "$or_not" = --or-not ] && exit 0
  exit 1
}

or_not=${1:-}
need_node || cannot "the web app is built with node 20.19 or newer and npm"
stamp=web/dist/.built
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(made_from)" ] && [ -f web/dist/index.html ]; then
  echo "    the web app is built already"
  exit 0
fi
cd web
if ! cmp -s package-lock.json node_modules/.installed; then
  npm ci --no-audit --no-fund --loglevel=error || cannot "the web app's parts can't be fetched"
  cp package-lock.json node_modules/.installed
fi
npm run --silent build
cd ..
made_from > "$stamp"
