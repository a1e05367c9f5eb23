# Third-party libraries, all from Debian packages. docs/dependencies.md names each with its reason.
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(Boost 1.81 REQUIRED)
find_package(CURL REQUIRED)
find_package(ZLIB REQUIRED)
find_package(prometheus-cpp REQUIRED COMPONENTS core)
pkg_check_modules(zstd REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(isal IMPORTED_TARGET libisal)  # x86-64 only
pkg_check_modules(fuse3 REQUIRED fuse3>=3.12)  # its headers are included as <fuse3/...>
pkg_check_modules(tomlplusplus REQUIRED IMPORTED_TARGET tomlplusplus)
