# Flags every target shares. clang 19 is the compiler of record (ARCHITECTURE.md says why).
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

set(HEARTH_SANITIZER "" CACHE STRING "Empty, or a -fsanitize= list such as address,undefined or thread")
option(HEARTH_WERROR "Treat warnings as errors" ON)
option(HEARTH_FUZZ "Build the fuzzers too (libFuzzer); unit tests and fuzzers share their libraries" OFF)

if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang" OR CMAKE_CXX_COMPILER_VERSION VERSION_LESS 19)
  message(FATAL_ERROR "Hearth builds with clang 19 (Debian package clang-19); use './dev build' or a CMake preset")
endif()

add_library(hearth_options INTERFACE)
target_compile_options(hearth_options INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wnon-virtual-dtor -Wold-style-cast -Wnull-dereference
  -Wno-missing-field-initializers   # designated initialisers name what matters; the rest has defaults
  $<$<BOOL:${HEARTH_WERROR}>:-Werror>)
target_link_options(hearth_options INTERFACE -fuse-ld=lld-19)
target_include_directories(hearth_options INTERFACE ${CMAKE_SOURCE_DIR}/src)

if(HEARTH_SANITIZER)
  add_compile_options(-fsanitize=${HEARTH_SANITIZER} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${HEARTH_SANITIZER})
endif()
if(HEARTH_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
