#!/bin/bash
# `make regress`: PostgreSQL's own regression suite, straight to a server and through the door. What the two runs print must be the same.
#
# pg-regress.sh [TEST...]    only these tests, after `test_setup`
#
# Two servers are made alike, one for each run. In front of the second stands `safeconduct serve` with an `unrestricted` grant. The suite comes
# from Debian's source package; a difference in version between it and the server shows in both runs alike.
set -euo pipefail
. "$(dirname "$0")/install.sh"
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1) || true
if [ -z "$bin" ]; then need postgresql; bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1); fi
version=$(basename "$(dirname "$bin")")
need "postgresql-server-dev-$version" python3 bzip2
need_command gcc build-essential
pg_regress=/usr/lib/postgresql/$version/lib/pgxs/src/test/regress/pg_regress
# One test at a time: tests that run together use the same names, which with temporary objects last get in each other's way.
connections=${CONNECTIONS:-1}

# --- the suite -------------------------------------------------------------------------------------------------------------------------
suite=$target/pg-regress/postgresql-$version
if [ ! -f "$suite/.whole" ]; then
  step "sources of postgresql-$version"
  rm -rf "$suite"
  mkdir -p "$suite"/apt/{lists/partial,cache/archives/partial,sources}
  (
    cd "$suite/apt"
    # An apt of its own, so that the machine's settings stay as they are.
    awk 'BEGIN { RS = "" } NR == 1' /etc/apt/sources.list.d/debian.sources | sed '/^#/d; s/^Types: .*/Types: deb-src/' > sources/src.sources
    printf 'Dir::Etc::sourcelist "/dev/null";\nDir::Etc::sourceparts "%s/sources";\nDir::State::lists "%s/lists";\nDir::Cache "%s/cache";\nAPT::Sandbox::User "root";\n' \
      "$PWD" "$PWD" "$PWD" > apt.conf
    export APT_CONFIG=$PWD/apt.conf
    apt-get update -q >/dev/null
    apt-get source -q --download-only "postgresql-$version" >/dev/null 2>&1
    tar xf "postgresql-$version"_*.orig.tar.* -C .. --strip-components=1 --wildcards '*/src/test/regress/*' '*/contrib/spi/*' '*/COPYRIGHT'
  )
  rm -rf "$suite/apt"
  tests=$suite/src/test/regress
  for library in regress:src/test/regress/regress.c autoinc:contrib/spi/autoinc.c refint:contrib/spi/refint.c; do
    gcc -O1 -fPIC -shared -I"$(pg_config --includedir-server)" -I"$tests" -o "$tests/${library%%:*}.so" "$suite/${library#*:}"
  done
  touch "$suite/.whole"
fi

# --- where it runs ---------------------------------------------------------------------------------------------------------------------
# The server's user must be able to enter it, and reads the suite's data.
work=$(mktemp -d /tmp/safeconduct-regress-XXXXXX)
as=()
if [ "$(id -u)" -eq 0 ]; then as=(setpriv --reuid=postgres --regid=postgres --init-groups); fi
pids=()
finish() {
  local status=$?
  trap - EXIT INT TERM
  for pid in "${pids[@]}"; do kill -INT "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "${data:-}"
  if [ -n "${KEEP:-}" ]; then echo "kept: $work"; else rm -rf "$work"; fi
  exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM
cp -r "$suite/src/test/regress" "$work/suite"
mkdir "$work/template" "$work/direct" "$work/door" "$work/node"
chmod 711 "$work"
schedule=$work/suite/parallel_schedule
if [ $# -gt 0 ]; then
  schedule=$work/suite/some_schedule
  printf 'test: %s\n' test_setup "$@" > "$schedule"
fi
password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
printf '%s\n' "$password" > "$work/password"
if [ "$(id -u)" -eq 0 ]; then chown -R postgres "$work"; chown root "$work/node"; fi

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# until COMMAND...: waits until it succeeds.
until_ok() {
  for _ in $(seq 600); do
    "$@" >/dev/null 2>&1 && return 0
    sleep 0.1
  done
  echo "error: never happened: $*" >&2
  return 1
}

superuser() {
  PGPASSWORD=$password PGOPTIONS='' "$bin/psql" -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" -U postgres "$@"
}

# A server in directory $1 of $work, on port $port, with what pg_regress would put into the database that it makes.
server() {
  cp -a "$work/template/data" "$work/$1/data"
  "${as[@]}" "$bin/postgres" -D "$work/$1/data" -c port="$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories="$work" \
    -c fsync=off -c max_connections=60 -c max_prepared_transactions=2 -c password_encryption=scram-sha-256 >"$work/$1/log" 2>&1 &
  server=$!
  pids+=("$server")
  until_ok superuser -d postgres -c 'SELECT 1'
  superuser -d postgres -c 'CREATE DATABASE regression TEMPLATE = template0'
  for setting in "lc_messages TO 'C'" "lc_monetary TO 'C'" "lc_numeric TO 'C'" "lc_time TO 'C'" "bytea_output TO 'hex'" \
    "timezone_abbreviations TO 'Default'"; do
    superuser -d postgres -c "ALTER DATABASE regression SET $setting"
  done
}

# suite NAME HOST PORT PASSWORD: runs the suite; its results are in $work/NAME/results.
suite() {
  mkdir -p "$work/$1"/{results,sql,expected,testtablespace}
  if [ "$(id -u)" -eq 0 ]; then chown -R postgres "$work/$1"; fi
  (
    cd "$work/$1"
    # Failures are judged by comparing, not here.
    "${as[@]}" env HOME="$work/$1" PGPASSWORD="$4" "${@:5}" "$pg_regress" --host="$2" --port="$3" --user=postgres --bindir="$bin" --dlpath="$work/suite" \
      --inputdir="$work/suite" --outputdir="$work/$1" --schedule="$schedule" --max-connections="$connections" \
      --dbname=regression --use-existing >"$work/$1/said" 2>&1 || true
    grep -E 'tests (passed|failed)|^ (All|[0-9]+ of)' "$work/$1/said" || { tail -n 20 "$work/$1/said"; exit 1; }
  )
}

step "two servers"
"${as[@]}" "$bin/initdb" -D "$work/template/data" -U postgres --pwfile="$work/password" --auth=scram-sha-256 -E UTF8 --no-locale -N >"$work/template/log"

# --- straight --------------------------------------------------------------------------------------------------------------------------
step "straight to the server"
port=$(free_port)
server direct
# The gateway pins the resource's search path, with temporary objects last; whoever compares has to give both the same.
suite direct 127.0.0.1 "$port" "$password" PGOPTIONS='-c search_path="public",\ pg_temp'
kill -INT "$server"
wait "$server" || true

# --- through the door ------------------------------------------------------------------------------------------------------------------
step "through the door"
server door
api=$(free_port) door=$(free_port)
mkdir -p "$work/bundle"/{resources,policies}
# Named like the database and the login, so that what the suite says about itself is the same.
cat > "$work/bundle/resources/regression.toml" <<TOML
kind = "postgres"
description = "PostgreSQL's regression suite"

[postgres]
host = "127.0.0.1"
port = $port
database = "regression"
search_path = ["public"]
danger_unrestricted = true

[postgres.tls]
danger_disabled = true

[postgres.credentials]
user = "postgres"
password = "file:$work/password"
TOML
cat > "$work/bundle/policies/everything.cedar" <<'CEDAR'
@id("everything") permit (principal in Group::"administrators", action == Action::"unrestricted", resource == Resource::"regression");
CEDAR
# Nothing here must survive: journals go where writing them to disk costs nothing.
data=$work/node/data
if [ -w /dev/shm ]; then data=$(mktemp -d /dev/shm/safeconduct-regress-XXXXXX); fi
export SAFECONDUCT_HOME=$work/node SAFECONDUCT_DATA=$data SAFECONDUCT_KEYS=$work/node/keys
export SAFECONDUCT_API_LISTEN=127.0.0.1:$api SAFECONDUCT_API_PUBLIC_URL=https://localhost:$api
export SAFECONDUCT_POSTGRES_LISTEN=127.0.0.1:$door SAFECONDUCT_POSTGRES_PUBLIC_HOST=localhost
safeconduct=${SAFECONDUCT:-$target/debug/safeconduct}
"$safeconduct" serve --bundle "$work/bundle" --first-administrator postgres >"$work/node/log" 2>&1 &
pids+=($!)
until_ok grep -q '^safeconduct is ready' "$work/node/log"
sed -n 's/^one-time code for postgres, .*: //p' "$work/node/log" > "$work/node/code"
as_postgres() { SAFECONDUCT_SERVER=https://localhost:$api SAFECONDUCT_CA=$work/node/keys/ca.pem "$safeconduct" "$@"; }
as_postgres sign-in postgres --code-file "$work/node/code" --password-file "$work/password" >>"$work/node/said" 2>&1
as_postgres request regression --operation unrestricted --for 3h --reason "PostgreSQL's regression suite" >>"$work/node/said" 2>&1
XDG_RUNTIME_DIR=$work/node as_postgres connect regression --print >>"$work/node/said" 2>&1
secret=$(sed 's/.*://' "$work"/node/safeconduct-*/pass)
install -m 644 "$work/node/keys/ca.pem" "$work/ca.pem"
suite door localhost "$door" "$secret" PGSSLMODE=verify-full PGSSLROOTCERT="$work/ca.pem" PGGSSENCMODE=disable

# --- the same? -------------------------------------------------------------------------------------------------------------------------
step "compare"
differences=0
for file in "$work"/direct/results/*.out; do
  name=$(basename "$file")
  if ! diff -u --label "direct/$name" --label "door/$name" "$file" "$work/door/results/$name"; then differences=$((differences + 1)); fi
done
count=$(ls "$work/direct/results" | wc -l)
if [ "$count" != "$(ls "$work/door/results" | wc -l)" ]; then
  echo "error: $count results straight, $(ls "$work/door/results" | wc -l) through the door" >&2
  exit 1
fi
if [ $differences -gt 0 ]; then
  echo "error: $differences of $count tests print something else through the door" >&2
  exit 1
fi
echo "the same: all of $count tests print what they print without the door"
