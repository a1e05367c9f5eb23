# What a change should pass before it lands: lint, every test, and a longer run of every fuzzer.
set -euo pipefail
bash tests/run/lint.sh
FUZZ_SECONDS=${FUZZ_SECONDS:-20} bash tests/run/test.sh
