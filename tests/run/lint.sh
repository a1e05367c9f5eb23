# Format and lint. `LINT_ALL=1` runs clang-tidy over every file; otherwise over those that differ from main's last commit.
set -euo pipefail
./dev setup
mapfile -t sources < <(git ls-files -co --exclude-standard '*.cpp' '*.hpp')
clang-format-19 --dry-run -Werror "${sources[@]}"
echo "format: ${#sources[@]} files clean" >&2
cmake --preset release > /dev/null
if [ "${LINT_ALL:-0}" = 1 ]; then
  mapfile -t units < <(git ls-files 'src/*.cpp' 'app/*.cpp')
else
  mapfile -t units < <({ git diff --name-only HEAD~1; git ls-files -o --exclude-standard; } 2>/dev/null | grep -E '^(src|app)/.*\.cpp$' | sort -u)
fi
existing=()
for unit in "${units[@]}"; do [ -f "$unit" ] && existing+=("$unit"); done
if [ ${#existing[@]} -gt 0 ]; then
  printf '%s\n' "${existing[@]}" | xargs -P "$(nproc)" -n 4 clang-tidy-19 -p build --quiet 2>&1 | grep -v ' warnings generated' || true
  test "${PIPESTATUS[1]}" = 0
fi
echo "lint: ${#existing[@]} files clean" >&2
