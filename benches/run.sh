#!/usr/bin/env bash
# Measures Callboard beside its peers: installs what is missing of them from Debian, builds, and runs the benches: what requests cost
# (`limit`) and how long they take (`latency`). Needs Rust, and root on something like Debian where something is missing. With
# arguments, such as `1 304 --rounds 9`, it runs `limit` alone and hands them on.
#
# Nothing that is installed here is started as a service: the bench starts servers of its own, on ports of loopback, and ends them.
set -euo pipefail
cd "$(dirname "$0")/.."

# Program and package.
needed=(nginx:nginx varnishd:varnish wrk:wrk redis-server:redis-server h2load:nghttp2-client taskset:util-linux cc:gcc)

PATH=$PATH:/usr/sbin
missing=()
for entry in "${needed[@]}"; do
  command -v "${entry%%:*}" >/dev/null || missing+=("${entry##*:}")
done
if [ "${#missing[@]}" -gt 0 ]; then
  echo "run: installing ${missing[*]}" >&2
  # Debian's packages start their services as they are installed, unless this says that it is not allowed (101).
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  apt-get update -q >&2
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}" >&2
fi

nginx -v
varnishd -V 2>&1 | head -n 1 >&2
# What the image has in it, rather than what `cargo build` makes.
CALLBOARD_PROGRAM=$(bash benches/pgo/build.sh)
export CALLBOARD_PROGRAM
cargo bench --locked --bench limit -- "$@"
[ "$#" -gt 0 ] || cargo bench --locked --bench latency
