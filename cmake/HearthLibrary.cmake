# hearth_library(<name> [DEPS <hearth libraries>] [LINK <system targets>] [TEST_LINK <targets>])
#
# Makes the library hearth_<name> of every .cpp in the folder, and, when there are *_test.cpp files beside
# them, the GoogleTest program <name>_test. Each TEST is one ctest case.
include(GoogleTest)
find_package(GTest REQUIRED)

function(hearth_library name)
  cmake_parse_arguments(arg "" "" "DEPS;LINK;TEST_LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS *.cpp)
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  list(FILTER sources EXCLUDE REGEX "_test\\.cpp$")

  list(TRANSFORM arg_DEPS PREPEND hearth_)
  if(sources)
    add_library(hearth_${name} STATIC ${sources})
    target_link_libraries(hearth_${name} PUBLIC hearth_options ${arg_DEPS} PRIVATE ${arg_LINK})
  else()
    add_library(hearth_${name} INTERFACE)
    target_link_libraries(hearth_${name} INTERFACE hearth_options ${arg_DEPS} ${arg_LINK})
  endif()

  if(tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE hearth_${name} ${arg_LINK} ${arg_TEST_LINK} GTest::gmock GTest::gtest_main)
    gtest_discover_tests(${name}_test TEST_PREFIX ${name}. DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 120 LABELS unit)
  endif()
endfunction()
