# Measures Hearth beside its peers; prints a table of ratios and writes it to docs/benchmarks.md.
set -euo pipefail
INSTALL_BENCH=1 ./dev build
exec python3 bench/run.py --data-dir "${BENCH_DATA_DIR:-/var/tmp/hearth-bench}" --out docs/benchmarks.md "$@"
