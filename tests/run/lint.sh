# Format and lint of the whole tree. LINT_DEEP=1 adds the static analyzer; arguments pick single files to lint.
set -euo pipefail
./dev setup
mapfile -t sources < <(git ls-files -co --exclude-standard '*.cpp' '*.hpp')
clang-format-19 --dry-run -Werror "${sources[@]}"
echo "format: ${#sources[@]} files clean"
cmake --preset release > /dev/null
exec python3 tests/run/lint_units.py "$@"
