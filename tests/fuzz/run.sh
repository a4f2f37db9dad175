#!/bin/sh
# Runs the fuzz targets with libFuzzer, one after the other, on the stable toolchain.
#
#   tests/fuzz/run.sh 60                 each target for 60 seconds
#   tests/fuzz/run.sh 600 head mapping   these two for ten minutes
#   tests/fuzz/run.sh keep               adds what was found to the kept corpus, as few inputs as reach the same code
#                                        (`rm -r target/fuzz/corpus` begins anew)
#
# In corpus/, inputs that have words for names were written by hand; the others are from tests/data or were found here.
#
# No address sanitizer: it needs a nightly toolchain, and there is no unsafe code for it to watch. What is built and
# found is under target/fuzz: inputs in corpus/, those for which a property does not hold in artifacts/.
set -eu
cd "$(dirname "$0")"

# The gate's own versions, of which a lock file of this crate's own would soon be an old copy.
cp ../../Cargo.lock Cargo.lock
# Whatever a caller's cargo is set to, the binaries are looked for here.
CARGO_TARGET_DIR="$(cd ../.. && pwd)/target/fuzz"
export CARGO_TARGET_DIR
mkdir -p "$CARGO_TARGET_DIR/corpus" "$CARGO_TARGET_DIR/artifacts"
seconds=${1:-60}
[ $# -eq 0 ] || shift
targets=${*:-$(for file in targets/*.rs; do basename "$file" .rs; done)}

command -v cargo-fuzz >/dev/null 2>&1 || cargo install --locked cargo-fuzz
echo "fuzz: building (the first time takes some minutes)"
cargo fuzz build --fuzz-dir . --sanitizer none --release >"$CARGO_TARGET_DIR/build.log" 2>&1 \
    || { cat "$CARGO_TARGET_DIR/build.log" >&2; exit 2; }

failed=
for target in $targets; do
    program=$(ls "$CARGO_TARGET_DIR"/*/release/"$target")
    found=$CARGO_TARGET_DIR/corpus/$target
    mkdir -p "$found"
    if [ "$seconds" = keep ]; then
        # What is there stays; of what was found, a few small inputs that together reach the same code.
        "$program" -set_cover_merge=1 -use_counters=0 -max_len=256 "corpus/$target" "$found" 2>&1 | tail -n 1
        continue
    fi
    dictionary=dictionaries/$target.dict
    [ -f "$dictionary" ] || dictionary=
    echo "== $target: $seconds s"
    "$program" "$found" "corpus/$target" ${dictionary:+-dict="$dictionary"} -max_total_time="$seconds" \
        -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$CARGO_TARGET_DIR/artifacts/$target-" \
        >"$found.log" 2>&1 || failed="$failed $target"
    grep -aE 'panicked at|^SUMMARY|Test unit written|number_of_executed_units|average_exec|new_units_added' "$found.log" || true
done
if [ -n "$failed" ]; then
    echo "fuzz: FAILED:$failed (see $CARGO_TARGET_DIR/corpus/*.log)" >&2
    exit 1
fi
