#!/bin/bash
# `make screens`: a picture of every page at each width, in docs/screens. Look at them before committing them.
# `scripts/screens.sh figures`: what opening a link costs, for docs/performance.md.
set -euo pipefail
. "$(dirname "$0")/install.sh"
need postgresql chromium
need_node
scripts/web.sh
cargo build --locked -p safeconduct
mkdir -p docs/screens
export SAFECONDUCT=$target/debug/safeconduct
cd web
npx --no-install playwright test -c playwright.screens.config.ts "${1:-screens}.spec"
