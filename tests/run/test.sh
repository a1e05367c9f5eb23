#!/usr/bin/env bash
# ./dev test: every test there is. Ends with the single line "N passed, N failed"; exit status 0 when none failed.
# TEST_PARTS picks some of: unit python style asan fuzz tsan lint. Full logs stay in build/test-logs/.
set -uo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1 INSTALL_TEST=1

# Libraries with threads or event loops: what ThreadSanitizer can say something about. Not the tables of cases, which
# hold the three back ends to the same trees one after another.
THREADED=(base net redis fleet blob record holder mount client router node control)
NOT_THREADED='^mount\.(Cases|Seeds|BackEnds/ReadOnly)'

passed=0
failed=0
started=$SECONDS
say() { printf '\033[1m== %s (%d min)\033[0m\n' "$*" $(((SECONDS - started) / 60)); }
wants() { [ -z "${TEST_PARTS:-}" ] || [[ " $TEST_PARTS " == *" $1 "* ]]; }

finish() {
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
  exit
}
fail() {
  echo "FAILED: $*"
  failed=$((failed + 1))
}
# one NAME COMMAND…: a step that counts as one test.
one() {
  local name=$1
  shift
  if "$@" > "$logs/$name" 2>&1; then
    passed=$((passed + 1))
  else
    tail -50 "$logs/$name"
    fail "$name"
  fi
}

# build PRESET [TARGET…]
build() {
  local preset=$1
  shift
  { cmake --preset "$preset" && cmake --build --preset "$preset" -- "$@"; } > "$logs/build-$preset" 2>&1 && return
  grep -E 'error|FAILED' -A5 "$logs/build-$preset" | head -60
  fail "build of preset $preset"
  return 1
}

# count_ctest NAME FOLDER [CTEST OPTION…]: runs the unit tests there and adds their numbers.
count_ctest() {
  local name=$1 folder=$2 line total bad
  shift 2
  ctest --test-dir "$folder" --output-on-failure -j3 "$@" > "$logs/$name" 2>&1
  line=$(grep -E 'tests? failed out of [0-9]+|tests passed, ' "$logs/$name" | tail -1)
  bad=$(sed -nE 's/.*[ ,]([0-9]+) tests? failed out of.*/\1/p' <<< "$line")
  total=$(sed -nE 's/.*failed out of ([0-9]+).*/\1/p' <<< "$line")
  if [ -z "$total" ]; then tail -30 "$logs/$name"; fail "$name did not run"; return; fi
  [ "$bad" -eq 0 ] || sed -n '/^The following tests FAILED/,$p' "$logs/$name"
  [ "$bad" -eq 0 ] || grep -E '(\*\*\*(Failed|Timeout|Exception)|: Failure$|^\[  FAILED  \])' -A12 "$logs/$name" | cut -c1-300 | head -150
  echo "$name: $((total - bad)) passed, $bad failed"
  passed=$((passed + total - bad))
  failed=$((failed + bad))
}

# count_pytest FOLDER
count_pytest() {
  local folder=$1 log status line good bad broken
  log=$logs/pytest-${folder//\//-}
  build/venv/bin/pytest -q --durations=5 "$folder" 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  [ "$status" -eq 5 ] && return  # no tests in it
  line=$(grep -E '^[0-9]+ (passed|failed|error|skipped)|^=+ .*(passed|failed|error)' "$log" | tail -1)
  good=$(sed -nE 's/.*\b([0-9]+) passed.*/\1/p' <<< "$line")
  bad=$(sed -nE 's/.*\b([0-9]+) failed.*/\1/p' <<< "$line")
  broken=$(sed -nE 's/.*\b([0-9]+) errors?.*/\1/p' <<< "$line")
  passed=$((passed + ${good:-0}))
  failed=$((failed + ${bad:-0} + ${broken:-0}))
  [ "$status" -eq 0 ] || [ -n "$bad$broken" ] || fail "$folder: pytest ended with status $status"
}

prepare_python() {
  [ -x build/venv/bin/python ] || python3 -m venv build/venv
  cmp -s tests/requirements.txt build/venv/requirements.txt ||
    { build/venv/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt &&
      cp tests/requirements.txt build/venv/requirements.txt; }
}

logs=$root/build/test-logs
mkdir -p "$logs"
if ! ./dev setup; then fail "setup"; finish; fi

say "build"
build release || finish

if wants unit; then
  say "unit tests"
  count_ctest unit build
fi

say "Python"
one python-environment prepare_python
wants style && [ -d tests/style ] && count_pytest tests/style
if wants python; then
  for folder in runner sdk/python tests/bench tests/stores tests/e2e tests/chaos; do
    [ -d "$folder" ] || continue
    say "$folder"
    count_pytest "$folder"
  done
fi

if wants lint; then
  say "format and lint of all files"
  one lint bash tests/run/lint.sh
fi

if wants asan; then
  say "unit tests with AddressSanitizer and UndefinedBehaviorSanitizer"
  build asan && ASAN_OPTIONS=detect_stack_use_after_return=1 count_ctest asan build/asan
fi

if wants fuzz; then
  say "a short run of every fuzzer"
  FUZZ_SECONDS=${FUZZ_SECONDS:-5} bash tests/run/fuzz.sh > "$logs/fuzz" 2>&1 || true
  grep -E '^fuzz ' "$logs/fuzz" || tail -30 "$logs/fuzz"
  passed=$((passed + $(grep -cE '^fuzz \w+: passed' "$logs/fuzz")))
  failed=$((failed + $(grep -cE '^fuzz \w+: failed' "$logs/fuzz")))
  grep -qE '^fuzz \w+: ' "$logs/fuzz" || fail "fuzzers did not run"
fi

if wants tsan; then
  say "unit tests of threaded libraries with ThreadSanitizer"
  targets=()
  for name in "${THREADED[@]}"; do compgen -G "src/$name/*_test.cpp" > /dev/null && targets+=("${name}_test"); done
  # die_after_fork=0: tests fork servers, which start threads, while threads of their own wait for an answer.
  build tsan "${targets[@]}" && TSAN_OPTIONS=die_after_fork=0 count_ctest tsan build/tsan \
    -R "^($(IFS='|'; echo "${THREADED[*]}"))\." -E "$NOT_THREADED"
fi

finish
