#!/usr/bin/env bash
# Runs every check and every test, installing first what they need. Takes about forty minutes on a clean machine with two
# cores; needs Rust, root on something like Debian, and a way to crates.io, PyPI, npm and Debian's packages.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$PWD/target/test-tools
CARGO_DENY=0.20.2

step() { echo "== $*" >&2; }

step "what the tests need"
bash tests/setup.sh
if ! "$tools/bin/cargo-deny" --version 2>/dev/null | grep -qF "$CARGO_DENY"; then
  # Its own target folder, so that it is built once however often ours is cleaned.
  cargo install --quiet --locked --root "$tools" --version "$CARGO_DENY" cargo-deny
fi

step "formatter and lints"
cargo fmt --all -- --check
cargo clippy --locked --all-targets -- -D warnings
# The fuzz targets are a crate of their own: that they still fit is all that is asked here.
cargo check --locked --quiet --manifest-path fuzz/Cargo.toml --target-dir target

step "dependencies"
# The advisory database lies on GitHub. Where that is out of reach the other three checks still hold.
if timeout 60 git ls-remote --quiet https://github.com/rustsec/advisory-db HEAD >/dev/null 2>&1; then
  "$tools/bin/cargo-deny" check
else
  echo "The advisory database can't be reached from here: checking licences, bans and sources only." >&2
  "$tools/bin/cargo-deny" check licenses bans sources
fi

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet

step "the module for Backstage"
PATH=$PATH:$tools/venv/bin npm test --prefix integrations/backstage

step "tests"
cargo test --locked --no-fail-fast

step "container"
bash tests/container.sh
