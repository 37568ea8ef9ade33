#!/usr/bin/env bash
# Builds the program optimised by a profile of itself at work (PGO): what a hit runs through is laid out side by side, and what
# it never runs through out of its way. Prints where the program lies. Takes half an hour on two cores; needs wrk, h2load,
# openssl, curl and Redis beside Rust, and the `llvm-profdata` of the LLVM that `rustc -vV` names: from `rustup component add
# llvm-tools`, or Debian's llvm-22.
#
#   CALLBOARD_PROGRAM=$(benches/pgo.sh) benches/run.sh 1 2 3
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "pgo: $*" >&2; exit 1; }
say() { echo "pgo: $*" >&2; }

host=$(rustc -vV | sed -n 's/^host: //p')
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
profdata=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
[ -x "$profdata" ] || profdata=$(command -v "llvm-profdata-$llvm") ||
  fail "llvm-profdata $llvm is missing: rustup component add llvm-tools, or apt-get install llvm-$llvm"
for program in wrk h2load openssl curl redis-server; do
  command -v "$program" >/dev/null || fail "$program is missing: benches/run.sh installs it"
done

folder=$PWD/target/pgo
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT

# As the last build in all but what it counts: Cargo has the profile's settings in the symbols' names, by which counts are found again.
say "building the program that counts"
RUSTFLAGS="-C profile-generate=$folder/raw" \
  cargo build --locked --release --quiet --bin callboard --target "$host" --target-dir "$folder/counting" >&2
program=$folder/counting/$host/release/callboard

say "letting it work"
bash benches/pgo_work.sh "$program" "$work" >&2
"$profdata" merge --sparse --output "$folder/callboard.profdata" "$work/raw"/*.profraw

say "building the program"
# By its content, so that Cargo knows a new one for new.
profile=$folder/$(sha256sum "$folder/callboard.profdata" | cut -c1-16).profdata
mv "$folder/callboard.profdata" "$profile"
RUSTFLAGS="-C profile-use=$profile" \
  cargo build --locked --release --quiet --bin callboard --target "$host" --target-dir "$folder/optimised" >&2
echo "$folder/optimised/$host/release/callboard"
