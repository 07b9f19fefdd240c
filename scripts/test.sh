#!/bin/bash
# `make test`: everything, on a fresh machine too. Stops at the first step that fails; a test that is skipped is a failure.
set -euo pipefail
. "$(dirname "$0")/install.sh"
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}

step "packages"
need_to_build
need postgresql postgresql-contrib faketime openssh-client openssl
if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
  rustup component add rustfmt clippy
fi
need_command promtool prometheus
need pgbouncer sqlmap chromium
. scripts/drivers.sh

step "web app"
need_node
scripts/web.sh
(cd web && npm run --silent unit)

step "format"
cargo fmt --all --check

step "house rules"
cargo run --quiet --locked -p xtask -- check

step "lints"
cargo clippy --locked --workspace --all-targets -- -D warnings

step "build"
cargo build --locked --workspace --bins

step "the demonstration's policy"
"$target/debug/safeconduct" policy check demo/bundle
"$target/debug/safeconduct" policy test demo/bundle

step "the demonstration, by itself"
"$target/debug/safeconduct" demo --script

step "browsers"
(cd web && SAFECONDUCT="$target/debug/safeconduct" npx --no-install playwright test)

step "tests"
# The same property cases for everybody; `make properties` looks at others.
export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-1}
cargo test --locked --workspace --no-fail-fast 2>&1 | tee "$log_dir/test.log"

awk '/^test result:/ { passed += $4; ignored += $8 } END {
  printf "\nall passed: %d tests\n", passed
  if (ignored > 0) { printf "error: %d tests were skipped; see \"ignored\" above\n", ignored; exit 1 }
}' "$log_dir/test.log"
