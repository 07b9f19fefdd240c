#!/bin/bash
# `make demo`: installs what is missing, builds, and runs the demonstration until Ctrl-C. Arguments go to `safeconduct demo`.
set -euo pipefail
. "$(dirname "$0")/install.sh"

step "packages"
need_to_build
need postgresql openssh-client
step "web app"
scripts/web.sh --or-not
step "build (the first time takes some minutes)"
cargo build --locked -p safeconduct -p safeconduct-verify
step "demonstration"
exec "$target/debug/safeconduct" demo "$@"
