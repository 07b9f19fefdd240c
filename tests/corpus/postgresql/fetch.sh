#!/bin/bash
# Makes statements.jsonl and COPYRIGHT anew from Debian's source package: fetch.sh [PACKAGE]. Needs apt and python3, no root, changes no setting.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); package=${1:-postgresql-15}
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"; mkdir -p lists/partial cache/archives/partial sources
awk 'BEGIN { RS = "" } NR == 1' /etc/apt/sources.list.d/debian.sources | sed '/^#/d; s/^Types: .*/Types: deb-src/' > sources/src.sources
printf 'Dir::Etc::sourcelist "/dev/null";\nDir::Etc::sourceparts "%s/sources";\nDir::State::lists "%s/lists";\nDir::Cache "%s/cache";\n' \
  "$work" "$work" "$work" > apt.conf
export APT_CONFIG=$work/apt.conf
apt-get update -q >/dev/null
apt-get source -q --download-only "$package" >/dev/null
tar xf "$package"_*.orig.tar.* --wildcards '*/src/test/regress/*' '*/COPYRIGHT'
tree=$(echo "$work"/postgresql-*/)
cp "$tree/COPYRIGHT" "$here/"
python3 "$here/extract.py" "${tree%/}" > "$here/statements.jsonl"
wc -l "$here/statements.jsonl"
