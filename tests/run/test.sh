#!/usr/bin/env bash
# ./dev test: every test there is. Ends with the single line "N passed, N failed"; exit status 0 when none failed.
set -uo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1

passed=0
failed=0
say() { printf '\033[1m== %s\033[0m\n' "$*"; }

# count_ctest FILE: adds the totals of a ctest log.
count_ctest() {
  local total bad
  bad=$(sed -nE 's/.* ([0-9]+) tests? failed out of ([0-9]+).*/\1/p' "$1" | tail -1)
  total=$(sed -nE 's/.* ([0-9]+) tests? failed out of ([0-9]+).*/\2/p' "$1" | tail -1)
  if [ -z "$total" ]; then failed=$((failed + 1)); return; fi
  passed=$((passed + total - bad))
  failed=$((failed + bad))
}

# count_pytest FILE: adds the numbers of the last summary line; errors are failures.
count_pytest() {
  local line good bad broken
  line=$(grep -E '(passed|failed|error)' "$1" | tail -1)
  good=$(sed -nE 's/.*\b([0-9]+) passed.*/\1/p' <<< "$line")
  bad=$(sed -nE 's/.*\b([0-9]+) failed.*/\1/p' <<< "$line")
  broken=$(sed -nE 's/.*\b([0-9]+) errors?.*/\1/p' <<< "$line")
  if [ -z "$good$bad$broken" ]; then failed=$((failed + 1)); return; fi
  passed=$((passed + ${good:-0}))
  failed=$((failed + ${bad:-0} + ${broken:-0}))
}

finish() {
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
  exit
}

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

./dev build || { failed=$((failed + 1)); finish; }

say "unit tests"
cmake --build --preset release > "$logs/build" 2>&1 || { tail -50 "$logs/build"; failed=$((failed + 1)); finish; }
ctest --test-dir build --output-on-failure -j2 2>&1 | tee "$logs/ctest"
count_ctest "$logs/ctest"

say "Python tests"
if [ ! -x build/venv/bin/pytest ]; then
  python3 -m venv build/venv && build/venv/bin/pip install --quiet --disable-pip-version-check pytest numpy pandas
fi
folders=()
for folder in tests/style runner sdk/python tests/e2e tests/chaos; do [ -d "$folder" ] && folders+=("$folder"); done
for folder in "${folders[@]}"; do
  say "$folder"
  build/venv/bin/pytest -q "$folder" 2>&1 | tee "$logs/pytest"
  [ "${PIPESTATUS[0]}" -eq 5 ] || count_pytest "$logs/pytest"  # 5: no tests collected
done

finish
