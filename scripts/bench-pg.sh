#!/bin/bash
# `make bench-pg`: measures the door beside the server itself and beside pgbouncer. Arguments go to the measuring program (`--help` lists them).
# Prints Markdown to standard output; takes about 20 minutes. Nothing else should run on the machine meanwhile.
set -euo pipefail
. "$(dirname "$0")/install.sh"

step "packages" >&2
need_to_build >&2
need postgresql postgresql-contrib pgbouncer >&2
step "build (release, some minutes)" >&2
cargo build --locked --release -p safeconduct -p safeconduct-bench >&2
step "measure" >&2
exec "$target/release/safeconduct-bench" --program "$target/release/safeconduct" "$@"
