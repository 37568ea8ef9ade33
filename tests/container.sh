#!/usr/bin/env bash
# Proves the container without an image registry: builds the Dockerfile's last stage from a static binary and nothing
# else, and runs it as the Dockerfile, compose.yaml and Kubernetes would: read-only, without capabilities, as nobody.
#
#   tests/container.sh
#
# Needs root. Installs Debian's buildah, podman and runc if they are missing.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
image=callboard-under-test
name=callboard-under-test-$$
port=17008
cleanup() {
  podman --runtime runc --cgroup-manager cgroupfs rm --force --time 0 "$name" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT

say() { echo "container: $*" >&2; }
fail() { say "$*"; exit 1; }
podman_run() { podman --runtime runc --cgroup-manager cgroupfs "$@"; }

if ! command -v buildah >/dev/null || ! command -v podman >/dev/null || ! command -v runc >/dev/null; then
  say "installing buildah, podman and runc"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends buildah podman runc >/dev/null
fi

# Not optimised, which takes many minutes and changes nothing of what is shown here.
say "building the static binary"
target=$(rustc -vV | sed -n 's/^host: //p')
CARGO_PROFILE_DEV_DEBUG=false RUSTFLAGS="-C target-feature=+crt-static" \
  cargo build --locked --quiet --target "$target"
binary=target/$target/debug/callboard
file=$(LC_ALL=C ldd "$binary" 2>&1 || true)
case $file in *"statically linked"* | *"not a dynamic executable"*) ;; *) fail "not static: $file" ;; esac

say "building the last stage from the binary and scratch"
mkdir -p "$work/out/usr/bin" "$work/out/etc/ssl/certs" "$work/out/etc/callboard"
cp "$binary" "$work/out/usr/bin/"
cp /etc/ssl/certs/ca-certificates.crt "$work/out/etc/ssl/certs/"
sed -n '/^FROM scratch/,$p' Dockerfile | sed 's|^COPY --from=build /out /|COPY out /|' >"$work/Containerfile"
buildah bud --isolation chroot --format docker --quiet --tag "$image" "$work" >/dev/null

say "running it"
podman_run run --detach --name "$name" --network host --ulimit nofile=20000:20000 --ulimit nproc=1000:1000 \
  --read-only --cap-drop all --security-opt no-new-privileges \
  --env APP_CONFIG_callboard_listen="\"127.0.0.1:$port\"" \
  --env APP_CONFIG_callboard_admin_listen="\"127.0.0.1:$((port + 1))\"" "$image" >/dev/null
for _ in $(seq 100); do
  curl --silent --fail "http://127.0.0.1:$port/.backstage/health/v1/readiness" >/dev/null && break
  sleep 0.1
done
token=$(podman_run logs "$name" 2>&1 | sed -n "s/.*Authorization: Bearer \([^']*\)'.*/\1/p")
page=$(curl --silent --fail --header "Authorization: Bearer $token" \
  "http://127.0.0.1:$port/static/docs/default/component/callboard/index.html")
case $page in *Callboard*) ;; *) fail "no page came" ;; esac

say "asking it how it is, by its own binary"
podman_run exec "$name" /usr/bin/callboard health --ready >/dev/null || fail "it does not call itself ready"
[ "$(podman_run inspect --format '{{.Config.User}}' "$name")" = 65532:65532 ] || fail "it does not run as nobody"

say "ending it by TERM, as process 1"
podman_run stop --time 30 "$name" >/dev/null
code=$(podman_run inspect --format '{{.State.ExitCode}}' "$name")
[ "$code" = 0 ] || fail "it ended with $code"
say "all is well: image of $(du -h "$binary" | cut -f1)"
