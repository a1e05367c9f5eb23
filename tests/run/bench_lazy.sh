# Measures lazy images beside eager pulls and a local tree; writes docs/benchmarks-lazy.md and its picture.
set -euo pipefail
INSTALL_BENCH=1 ./dev build hearth bench_proxy bench_reader
exec /usr/bin/python3 bench/lazy/run.py --out docs/benchmarks-lazy.md "$@"
