#!/usr/bin/env bash
# Makes the profile that the program is optimised by (PGO), benches/pgo/callboard.profdata: builds a program that counts what it
# runs through, and lets it work. What a hit runs through is then laid out side by side, and what it never does out of its way.
#
#   benches/pgo/profile.sh            makes the profile anew; half an hour on two cores
#   benches/pgo/build.sh              builds the program by it, and prints where it lies
#
# Functions that have changed since the profile was made are optimised as if there were none; that is worth making it anew
# before a release. So are all, where the compiler is another.
#
# Needs wrk, h2load, openssl, curl and Redis beside Rust, and the `llvm-profdata` of the LLVM that `rustc -vV` names: from
# `rustup component add llvm-tools`, or Debian's llvm-22.
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() { echo "profile: $*" >&2; exit 1; }
say() { echo "profile: $*" >&2; }

host=$(rustc -vV | sed -n 's/^host: //p')
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
profdata=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
[ -x "$profdata" ] || profdata=$(command -v "llvm-profdata-$llvm") ||
  fail "llvm-profdata $llvm is missing: rustup component add llvm-tools, or apt-get install llvm-$llvm"
for program in wrk h2load openssl curl redis-server; do
  command -v "$program" >/dev/null || fail "$program is missing: benches/run.sh installs it"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# As the program is built in all but what it counts: Cargo has LTO and the like in the symbols' names, by which counts are
# found again.
say "building the program that counts"
RUSTFLAGS="-C profile-generate=$PWD/target/pgo/raw" \
  cargo build --locked --release --quiet --bin callboard --target "$host" --target-dir target/pgo/counting

say "letting it work"
bash benches/pgo/work.sh "$PWD/target/pgo/counting/$host/release/callboard" "$work"
"$profdata" merge --sparse --output benches/pgo/callboard.profdata "$work/raw"/*.profraw
say "benches/pgo/callboard.profdata is new"
