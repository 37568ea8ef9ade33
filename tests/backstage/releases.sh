#!/usr/bin/env bash
# Tries the Callboard module inside of older and newer releases of Backstage, and prints what came of each:
#
#   tests/backstage/releases.sh 1.30.4 1.42.5 1.49.5
#
# Each is installed from npm with the versions in its manifest, as far as the registry has them, into a folder of its own
# below ${WORK:-/tmp/callboard-releases}, half a gigabyte each; what is there already is used again. Manifests are read
# from ${MANIFESTS:-https://versions.backstage.io/v1/releases}, which may be a folder instead. Needs Node 20, npm, Rust
# and what tests/setup.sh brings. No part of tests/run.sh: it takes minutes a release.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${WORK:-/tmp/callboard-releases}
manifests=${MANIFESTS:-https://versions.backstage.io/v1/releases}
module=$root/integrations/backstage

say() { echo "releases: $*" >&2; }

manifest() {
  case $manifests in
    http*) curl --silent --show-error --fail "$manifests/$1/manifest.json" ;;
    *) cat "$manifests/$1/manifest.json" ;;
  esac
}

pack_module() {
  say "packing the module"
  rm -rf "$work/module"
  mkdir -p "$work/module"
  tar -C "$module" --exclude=node_modules --exclude=dist -c . | tar -C "$work/module" -x
  (cd "$work/module" && npm ci --silent && npm run --silent build && npm pack --silent >/dev/null)
  mv "$work"/module/*.tgz "$work/module.tgz"
}

# What the registry lacks of a release is left to npm, which takes the nearest that fits: dropped one by one, as npm
# finds out. Fails where the packages that the release is tried with are missing themselves.
# Peers are not looked at, as in the repository that yarn makes for a new Backstage.
install() {
  local folder=$1 log=$1/install.log missing
  while ! npm install --prefix "$folder" --legacy-peer-deps --ignore-scripts --no-audit --no-fund --loglevel=error >"$log" 2>&1; do
    missing=$(sed -n 's/.*No matching version found for \(@\?[^@ ]*@[^ ]*[^. ]\)\.\?$/\1/p' "$log" | head -n 1)
    [ -n "$missing" ] && say "the registry has no $missing" && node "$here/releases.mjs" without "$folder" "$missing" || return 1
  done
}

try() {
  local release=$1 folder=$work/$1
  mkdir -p "$folder"
  if [ ! -e "$folder/node_modules/.package-lock.json" ]; then
    say "installing $release"
    manifest "$release" >"$folder/manifest.json" || { echo "no manifest"; return; }
    node "$here/releases.mjs" describe "$folder" "$here/sqlite"
    install "$folder" || { echo "does not install: $(grep -m1 -E 'No matching' "$folder/install.log" || head -n 1 "$folder/install.log")"; return; }
  fi
  # The module last, as its user adds it: what it needs comes as the release has it, where that fits.
  say "trying $release"
  npm install --prefix "$folder" --no-save --legacy-peer-deps --ignore-scripts --no-audit --no-fund --loglevel=error \
    "$work/module.tgz" >"$folder/module.log" 2>&1 || { echo "the module does not install: $(tail -n 3 "$folder/module.log" | head -n 1)"; return; }
  cp "$here/releases.mjs" "$folder/"
  (cd "$folder" && CALLBOARD="$root/target/debug/callboard" timeout 300 node releases.mjs try 2>"$folder/try.log") ||
    echo "FAILED: see $folder/try.log"
}

[ "$#" -gt 0 ] || { sed -n '2,10p' "$0"; exit 64; }
cargo build --quiet --manifest-path "$root/Cargo.toml"
mkdir -p "$work"
pack_module
for release in "$@"; do
  printf '%s\t%s\n' "$release" "$(try "$release" | paste -sd ' ')"
done
