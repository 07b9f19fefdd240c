#!/bin/bash
# `make package`: a Debian package and a tarball, each with its SHA-256, in `$OUT` (default: dist in the build directory).
# PROFILE=release builds first; with BINARIES=DIR the programs there are taken as they are. The same programs give the same bytes.
set -euo pipefail
. "$(dirname "$0")/install.sh"
profile=${PROFILE:-release}
binaries=${BINARIES:-$target/$profile}
out=${OUT:-$target/dist}

command -v dpkg-deb >/dev/null || { echo "error: a Debian package is made with dpkg-deb, which is not here" >&2; exit 1; }
if [ -z "${BINARIES:-}" ]; then
  need_to_build
  step "web app"
  scripts/web.sh
  step "build ($profile)"
  flags=()
  [ "$profile" = debug ] || flags=(--profile "$profile")
  cargo build --locked "${flags[@]}" -p safeconduct -p safeconduct-verify
fi

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
architecture=$(dpkg --print-architecture)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
maintainer=${MAINTAINER:-Safeconduct maintainers <maintainers@safeconduct.invalid>}
name=safeconduct_${version}_$architecture
stage=$(mktemp -d "${TMPDIR:-/tmp}/safeconduct-package.XXXXXX")
trap 'rm -rf -- "$stage"' EXIT
umask 022
root=$stage/root
mkdir -p "$out"

put() { install -D -m "$1" "$2" "$root/$3"; }
put 755 "$binaries/safeconduct" usr/bin/safeconduct
put 755 "$binaries/safeconduct-verify" usr/bin/safeconduct-verify
put 644 deploy/systemd/safeconduct.service usr/lib/systemd/system/safeconduct.service
put 644 deploy/debian/safeconduct.toml etc/safeconduct/safeconduct.toml
put 644 deploy/prometheus/safeconduct.rules.yml usr/share/safeconduct/prometheus/safeconduct.rules.yml
doc=usr/share/doc/safeconduct
for page in docs/guides/*.md SECURITY.md ARCHITECTURE.md; do put 644 "$page" "$doc/${page##*/}"; done
put 644 deploy/debian/copyright "$doc/copyright"
# What the web app in the program is made of. Absent where the program was built without its pages.
licenses=web/dist/licenses.txt
if [ -f "$licenses" ]; then put 644 "$licenses" "$doc/web-licenses.txt"; fi
put 644 deploy/debian/lintian-overrides usr/share/lintian/overrides/safeconduct
put 644 CHANGELOG.md "$doc/CHANGELOG.md"
printf 'safeconduct (%s) unstable; urgency=medium\n\n  * What changed for operators is in CHANGELOG.md.\n\n -- %s  %s\n' \
  "$version" "$maintainer" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n | install -D -m 644 /dev/stdin "$root/$doc/changelog.gz"
gzip -9n < deploy/debian/safeconduct.1 | install -D -m 644 /dev/stdin "$root/usr/share/man/man1/safeconduct.1.gz"
ln -s safeconduct.1.gz "$root/usr/share/man/man1/safeconduct-verify.1.gz"
"$binaries/safeconduct" completions bash | install -D -m 644 /dev/stdin "$root/usr/share/bash-completion/completions/safeconduct"
"$binaries/safeconduct" completions zsh | install -D -m 644 /dev/stdin "$root/usr/share/zsh/vendor-completions/_safeconduct"
"$binaries/safeconduct" completions fish | install -D -m 644 /dev/stdin "$root/usr/share/fish/vendor_completions.d/safeconduct.fish"

# The newest version of the C library's symbols that the programs use: they do not start with an older one.
libc=$(grep -aoh 'GLIBC_[0-9.]*[0-9]' "$root"/usr/bin/* | sort -uV | tail -n 1)
mkdir -p "$root/DEBIAN"
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@LIBC@/${libc#GLIBC_}/" \
  -e "s/@MAINTAINER@/$maintainer/" -e "s/@SIZE@/$(du -sk --apparent-size --exclude=DEBIAN "$root" | cut -f1)/" deploy/debian/control.in > "$root/DEBIAN/control"
echo /etc/safeconduct/safeconduct.toml > "$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do install -m 755 "deploy/debian/$script" "$root/DEBIAN/$script"; done
(cd "$root" && find usr etc -type f | LC_ALL=C sort | xargs md5sum > DEBIAN/md5sums)
dpkg-deb --root-owner-group "-Z${COMPRESSION:-xz}" --build "$root" "$out/$name.deb" >/dev/null

tree=$stage/safeconduct-$version
mkdir -p "$tree"
cp -R "$root/usr/bin" "$root/usr/share/man" "$tree/"
cp -R deploy/systemd deploy/prometheus docs/guides "$tree/"
cp deploy/debian/safeconduct.toml LICENSE README.md SECURITY.md CHANGELOG.md "$tree/"
if [ -f "$licenses" ]; then cp "$licenses" "$tree/web-licenses.txt"; fi
tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -C "$stage" -c "safeconduct-$version" | gzip -n "-${COMPRESSION_LEVEL:-6}" > "$out/$name.tar.gz"
(cd "$out" && for file in "$name.deb" "$name.tar.gz"; do sha256sum "$file" > "$file.sha256"; done)
echo "$out/$name.deb"
echo "$out/$name.tar.gz"
