# Formats all C++ sources in place.
set -euo pipefail
git ls-files -co --exclude-standard '*.cpp' '*.hpp' | xargs -r clang-format-19 -i
