#!/bin/bash
# Installs Debian packages that are missing. Sourced by demo.sh and test.sh; starts no service and creates no database cluster.
# Works as root and as a user with sudo. On other systems it says what is needed and stops.

# need PACKAGE...: makes sure that these packages are installed.
need() {
  local missing=() package
  if ! command -v dpkg-query >/dev/null; then
    echo "error: this is no Debian or Ubuntu; install what these packages hold, then run scripts/test.sh or scripts/demo.sh with SAFECONDUCT_INSTALL=no: $*" >&2
    [ "${SAFECONDUCT_INSTALL:-yes}" = no ] && return 0
    return 1
  fi
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | cut -c1-2)" = ii ] || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  if [ "${SAFECONDUCT_INSTALL:-yes}" = no ]; then
    echo "error: missing packages: ${missing[*]}" >&2
    return 1
  fi
  local root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "error: missing packages: ${missing[*]}; install them as root, there is no sudo here" >&2
      return 1
    fi
    root=(sudo)
  fi
  echo "    installing: ${missing[*]}"
  # Debian's PostgreSQL packages create and start a cluster `main` unless told otherwise. Said only while we install, and only if no server is there.
  local drop_in=/etc/postgresql-common/createcluster.d/safeconduct-install.conf written=
  if [[ " ${missing[*]} " == *" postgresql "* ]]; then
    "${root[@]}" mkdir -p "${drop_in%/*}"
    echo "create_main_cluster = false" | "${root[@]}" tee "$drop_in" >/dev/null
    written=yes
  fi
  # Others start a service where there is systemd, unless this says no. An administrator's own word stands.
  local no_services=/usr/sbin/policy-rc.d forbidden=
  if [ ! -e "$no_services" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$no_services" >/dev/null
    "${root[@]}" chmod 755 "$no_services"
    forbidden=yes
  fi
  local status=0 apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
  { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } >"$log_dir/install.log" 2>&1 || status=$?
  [ -n "$written" ] && "${root[@]}" rm -f "$drop_in"
  [ -n "$forbidden" ] && "${root[@]}" rm -f "$no_services"
  if [ $status -ne 0 ]; then
    tail -n 20 "$log_dir/install.log" >&2
    echo "error: installing failed; the whole output is in $log_dir/install.log" >&2
  fi
  return $status
}

# need_command COMMAND PACKAGE: installs the package only if nobody provides the command.
need_command() {
  command -v "$1" >/dev/null || need "$2"
}

# A node that builds the web app: 20.19 or newer. Debian 12 has an older one; then one is put into the build directory, by npm.
need_node() {
  need_command npm npm || return 1
  local new_enough='const [major, minor] = process.versions.node.split(".").map(Number); process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)'
  node -e "$new_enough" && return 0
  local place=$target/node
  if [ ! -x "$place/node_modules/node/bin/node" ]; then
    if [ "${SAFECONDUCT_INSTALL:-yes}" = no ]; then
      echo "error: the web app is built with node 20.19 or newer; this is $(node --version)" >&2
      return 1
    fi
    echo "    installing: node 22"
    mkdir -p "$place"
    npm install --prefix "$place" --no-save --no-audit --no-fund --loglevel=error node@22 || return 1
  fi
  PATH=$place/node_modules/node/bin:$PATH
  node -e "$new_enough"
}

# What it takes to build: a C compiler, and libclang for the bindings to PostgreSQL's parser.
need_to_build() {
  if ! command -v cargo >/dev/null; then
    if [ -x "${HOME:-/nonexistent}/.cargo/bin/cargo" ]; then
      PATH=${HOME:-/nonexistent}/.cargo/bin:$PATH
    else
      echo "error: no cargo; install Rust from https://rustup.rs" >&2
      return 1
    fi
  fi
  need_command cc build-essential
  if [ -z "${LIBCLANG_PATH:-}" ]; then need libclang-dev; fi
}

step() {
  printf '\n==> %02d:%02d  %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"
}

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
# A build directory outside the clone is used if somebody made one, so that a fresh clone need not build everything again.
if [ -z "${CARGO_TARGET_DIR:-}" ] && [ -w "${HOME:-/nonexistent}/.cache/safeconduct-target" ]; then
  export CARGO_TARGET_DIR=$HOME/.cache/safeconduct-target
fi
target=${CARGO_TARGET_DIR:-$PWD/target}
log_dir=$target/logs
mkdir -p "$log_dir"
