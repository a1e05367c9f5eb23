# Runs every fuzzer for FUZZ_SECONDS (default 20) from its seeds. What it finds stays in build/fuzz-findings/.
set -euo pipefail
root=$PWD
seconds=${FUZZ_SECONDS:-20}
export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1
./dev setup
mapfile -t fuzzers < <(sed -nE 's/^hearth_fuzzer\((\w+).*/\1/p' fuzz/CMakeLists.txt)
cmake --preset asan > /dev/null
cmake --build --preset asan -- "${fuzzers[@]/%/_fuzz}"
mkdir -p build/fuzz-findings
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# fuzz NAME: prints one line; status 1 when something was found.
fuzz() {
  local name=$1
  mkdir -p "$work/$name"
  local seeds=()
  [ -d "fuzz/corpus/$name" ] && seeds=("fuzz/corpus/$name")
  if "build/asan/fuzz/${name}_fuzz" -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
    -artifact_prefix="build/fuzz-findings/$name-" "$work/$name" "${seeds[@]}" > "$work/$name.log" 2>&1; then
    echo "fuzz $name: passed ($(sed -nE 's/^Done ([0-9]+) runs.*/\1/p' "$work/$name.log") runs)"
  else
    tail -40 "$work/$name.log"
    echo "fuzz $name: failed"
    return 1
  fi
}
export -f fuzz
export work seconds
printf '%s\n' "${fuzzers[@]}" | xargs -P "$(nproc)" -I{} bash -c 'fuzz {}'
