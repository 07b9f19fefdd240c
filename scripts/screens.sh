#!/bin/bash
# `make screens`: a picture of every page at each width, in docs/screens. Look at them before committing them.
# `scripts/screens.sh figures`: what opening a link costs, for docs/performance.md.
# `scripts/screens.sh scale`: what a long past costs, API and pages; a release build, and some minutes.
set -euo pipefail
. "$(dirname "$0")/install.sh"
need postgresql chromium
need_node
scripts/web.sh
if [ "${1:-}" = scale ]; then
  cargo build --locked --release -p safeconduct -p safeconduct-bench
  cd web
  exec "$target/release/safeconduct-bench" --program "$target/release/safeconduct" history \
    --then 'npx --no-install playwright test -c playwright.screens.config.ts scale.spec'
fi
cargo build --locked -p safeconduct
mkdir -p docs/screens
export SAFECONDUCT=$target/debug/safeconduct
cd web
case ${1:-} in
  '') set -- screens.spec more.spec ;;
  *) set -- "$1.spec" ;;
esac
npx --no-install playwright test -c playwright.screens.config.ts "$@"
