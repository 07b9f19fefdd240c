#!/bin/sh
# Installs the drivers that the tests in crates/adapters/gateway-postgres/tests/drivers.rs run, under target/drivers.
# Needs python3 with venv, node with npm, a JDK and Debian's libpostgresql-jdbc-java.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
to=${1:-$here/../../target/drivers}
mkdir -p "$to"
to=$(cd "$to" && pwd)
if [ ! -e "$to/python.done" ]; then
    python3 -m venv "$to/python"
    "$to/python/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"
    touch "$to/python.done"
fi
if [ ! -e "$to/node.done" ]; then
    mkdir -p "$to/node"
    cp "$here/node/package.json" "$to/node/"
    (cd "$to/node" && npm install --silent --no-audit --no-fund)
    touch "$to/node.done"
fi
if [ ! -e "$to/jdbc.done" ] || [ "$here/jdbc/Check.java" -nt "$to/jdbc.done" ]; then
    mkdir -p "$to/jdbc"
    javac -cp /usr/share/java/postgresql.jar -d "$to/jdbc" "$here/jdbc/Check.java"
    touch "$to/jdbc.done"
fi
