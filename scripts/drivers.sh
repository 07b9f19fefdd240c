#!/bin/bash
# Gets the client drivers that the tests use, in fixed versions, and says where they are. Sourced by test.sh after install.sh.
# Python and Node drivers live in the build directory, the JDBC driver is Debian's.

drivers=$target/drivers
python_packages=(psycopg==3.3.9 psycopg-binary==3.3.9 asyncpg==0.32.0 rotel==0.0.1a15 aiosmtpd==1.4.6 scim2-cli==0.6.0 scim2-tester==0.5.2 scim-sanity==0.7.4)
node_packages=(pg@8.23.1)

need python3-venv libpostgresql-jdbc-java
need_command node nodejs
need_command npm npm
need_command javac default-jdk-headless

if [ "$(cat "$drivers/python/versions" 2>/dev/null)" != "${python_packages[*]}" ]; then
  echo "    python: ${python_packages[*]}"
  rm -rf "$drivers/python"
  /usr/bin/python3 -m venv "$drivers/python"
  "$drivers/python/bin/pip" install --quiet --disable-pip-version-check "${python_packages[@]}"
  echo "${python_packages[*]}" > "$drivers/python/versions"
fi
if [ "$(cat "$drivers/node/versions" 2>/dev/null)" != "${node_packages[*]}" ]; then
  echo "    node: ${node_packages[*]}"
  rm -rf "$drivers/node"
  mkdir -p "$drivers/node"
  npm install --prefix "$drivers/node" --no-save --no-audit --no-fund --loglevel=error "${node_packages[@]}"
  echo "${node_packages[*]}" > "$drivers/node/versions"
fi

export SAFECONDUCT_TEST_PYTHON=$drivers/python/bin/python
export SAFECONDUCT_TEST_NODE_MODULES=$drivers/node/node_modules
export SAFECONDUCT_TEST_JDBC=/usr/share/java/postgresql.jar
