#!/usr/bin/env bash
# Builds the program as the Dockerfile does, optimised by benches/pgo/callboard.profdata, and prints where it lies.
set -euo pipefail
cd "$(dirname "$0")/../.."

host=$(rustc -vV | sed -n 's/^host: //p')
# By a name of its content: Cargo takes the same name for the same profile.
profile=$PWD/target/pgo/$(sha256sum benches/pgo/callboard.profdata | cut -c1-16).profdata
mkdir -p target/pgo
cp benches/pgo/callboard.profdata "$profile"
RUSTFLAGS="-C profile-use=$profile" \
  cargo build --locked --release --quiet --bin callboard --target "$host" --target-dir target/pgo/optimised >&2
echo "$PWD/target/pgo/optimised/$host/release/callboard"
