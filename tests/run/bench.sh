# Measures Hearth beside its peers; prints a table of ratios and writes it to docs/benchmarks.md.
# `./dev bench lazy` measures lazy images instead.
set -euo pipefail
if [ "${1:-}" = lazy ]; then
  shift
  exec bash tests/run/bench_lazy.sh "$@"
fi
echo "bench: requests and cold starts of small models; './dev bench lazy' measures lazy images" >&2
INSTALL_BENCH=1 ./dev build
exec python3 bench/run.py --data-dir "${BENCH_DATA_DIR:-/var/tmp/hearth-bench}" --out docs/benchmarks.md "$@"
