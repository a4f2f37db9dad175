#!/bin/sh
# Builds what ships: Cargo's profile `dist` (fat LTO), optimised by a profile of the gate itself under load, and prints where
# the binary is. Two builds and some minutes of load: about half an hour on two cores.
#
# `llvm-profdata` has to be of the compiler's own LLVM, so it comes with the toolchain (`rustup component add llvm-tools`).
# Without it the gate is built once, without a profile, and the script says so: a tenth more CPU a request.
#
# Both builds have the same Cargo profile: a function's name depends on it, `strip` and `lto` included, and the profile is
# found by the name. With another one, rustc uses nothing of it and says nothing.
set -eu
cd "$(dirname "$0")/../.."
folder=$PWD/target/pgo
host=$(rustc -vV | sed -n 's/^host: //p')
gate=$folder/$host/dist/console-gate

profdata=$(rustc --print target-libdir)/../bin/llvm-profdata
[ -x "$profdata" ] || rustup component add llvm-tools >&2 || true

# For a named target, flags are not for what runs while it is built.
build() { RUSTFLAGS="$1" cargo build --locked --profile dist --bin console-gate --features jemalloc --target "$host" --target-dir "$folder" >&2; }

if [ -x "$profdata" ]; then
    rm -rf "$folder/profile"
    build "-Cprofile-generate=$folder/profile"
    GATE=$gate .venv/bin/python tests/bench/train.py >&2
    "$profdata" merge -o "$folder/merged.profdata" "$folder/profile"
    build "-Cprofile-use=$folder/merged.profdata"
else
    echo "dist: without a profile, because the toolchain has no llvm-profdata: a tenth more CPU a request" >&2
    build ""
fi
echo "$gate"
