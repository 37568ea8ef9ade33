#!/usr/bin/env bash
# Has a program that counts what it runs through do what Callboard does all day, so that `profile.sh` knows what matters: mostly
# hits, and a little of all else, since what is never seen here is taken for what hardly ever happens.
#
#   benches/pgo/work.sh <program> <folder for all that comes of it>
set -euo pipefail
program=$1
cd "$2"
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
mkdir -p raw docs/default/component/shop
export LLVM_PROFILE_FILE=$PWD/raw/%p.profraw

site=docs/default/component/shop
for page in $(seq 200); do
  seq -f "<p>%.0f: what the shop does, and what it does it with, for page $page</p>" $((page * 5)) >"$site/$page.html"
done
seq 1000000 >"$site/search_index.json"
echo '{"site_name":"shop","etag":"1","build_timestamp":1}' >"$site/techdocs_metadata.json"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out certificate.pem \
  -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>/dev/null
redis-server --port 7413 --bind 127.0.0.1 --save "" --appendonly no >/dev/null &

cat >app-config.yaml <<YAML
backend: { baseUrl: 'http://127.0.0.1:7412' }
techdocs: { publisher: { type: local, local: { publishDirectory: $PWD/docs } } }
callboard:
  listen: 127.0.0.1:7410
  admin: { listen: 127.0.0.1:7411 }
  limits: { requests: { perSecond: 1000000, burst: 1000000 } }
  cache: { redis: { url: redis://127.0.0.1:7413 } }
YAML

key=$PWD/trial.pem
token() { LLVM_PROFILE_FILE=/dev/null "$program" token --key "$key"; }
bearer="Authorization: Bearer $(token)"
LLVM_PROFILE_FILE=/dev/null "$program" token --key "$key" --serve 127.0.0.1:7412 >/dev/null &

# start <environment>…
start() {
  env "$@" "$program" --config app-config.yaml >out 2>err &
  callboard=$!
  for _ in $(seq 200); do
    curl -ksf "$base/.backstage/health/v1/readiness" >/dev/null && return
    sleep 0.1
  done
  cat out err >&2
  exit 1
}

# Its profile is written as it ends.
stop() {
  kill -TERM "$callboard"
  wait "$callboard"
}

load() { wrk -t1 "$@" | sed -n 's/^ *\([0-9]* requests in .*\),.*/  \1/p; /Non-2xx/p' >&2; }

every_page() {
  for page in $(seq 200); do
    curl -ks -o /dev/null -H "$bearer" -H 'Accept-Encoding: gzip, br' "$base/static/docs/default/component/shop/$page.html"
  done
}

hits() {
  local page=$base/static/docs/default/component/shop/100.html tag
  tag=$(curl -ks -o /dev/null -D - -H "$bearer" "$page" | sed -n 's/^etag: \(.*\)\r/\1/Ip')
  load -c32 -d4 -H "$bearer" "$page"
  load -c32 -d4 -H "$bearer" -H "If-None-Match: $tag" "$page"
  load -c8 -d2 -H "$bearer" -H 'Accept-Encoding: gzip, deflate, br, zstd' "$page"
  load -c8 -d1 -H "$bearer" "$base/metadata/techdocs/default/component/shop"
  load -c8 -d1 -H "$bearer" -H 'Range: bytes=0-99' "$page"
  load -c8 -d1 -H "$bearer" "$base/static/docs/default/component/shop/none.html"
  load -c8 -d1 "$page"
  load -c2 -d1 -H "$bearer" "$base/static/docs/default/component/shop/search_index.json"
  h2load -n 20000 -c 4 -m 20 -H "$bearer" "$page" | grep '^finished' >&2
}

everything() {
  every_page
  hits
  for _ in $(seq 100); do
    curl -ks -o /dev/null -H "Authorization: Bearer $(token)" "$base/static/docs/default/component/shop/1.html"
  done
  curl -s -o /dev/null http://127.0.0.1:7411/metrics
}

base=http://127.0.0.1:7410
start APP_CONFIG_callboard_telemetry_accessLog=false
everything
stop
# What the last one found is in Redis.
start APP_CONFIG_callboard_telemetry_accessLog=true
everything
stop
base=https://127.0.0.1:7410
start "APP_CONFIG_callboard_tls_certificates=[{\"cert\":\"$PWD/certificate.pem\",\"key\":\"$PWD/key.pem\"}]"
everything
stop
