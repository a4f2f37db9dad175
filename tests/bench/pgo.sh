#!/bin/sh
# Builds the gate with a profile of itself under load, and prints where the binary is: `make release-pgo`. Two builds with
# link-time optimisation and some minutes of load: about half an hour on two cores.
#
# Both builds have the same Cargo profile: a function's name depends on it, `strip` and `lto` included, and the profile is
# found by the name. With another one, rustc uses nothing of it and says nothing.
set -eu
cd "$(dirname "$0")/../.."
folder=$PWD/target/pgo
host=$(rustc -vV | sed -n 's/^host: //p')
gate=$folder/$host/release/console-gate

rustup component add llvm-tools >&2
profdata=$(rustc --print target-libdir)/../bin/llvm-profdata

# For a named target, flags are not for what runs while it is built.
build() { RUSTFLAGS="$1" cargo build --locked --release --bin console-gate --target "$host" --target-dir "$folder" >&2; }

rm -rf "$folder/profile"
build "-Cprofile-generate=$folder/profile"
GATE=$gate .venv/bin/python tests/bench/train.py >&2
"$profdata" merge -o "$folder/merged.profdata" "$folder/profile"
build "-Cprofile-use=$folder/merged.profdata"
echo "$gate"
