#include "mount/python_names.hpp"

#include "base/little_endian.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hearth::mount {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint8_t kReferenced = 0x80;

// What Python's marshal module writes, in small.
std::string text(std::string_view value, bool referenced = false) {
  std::string out(1, static_cast<char>('z' | (referenced ? kReferenced : 0)));
  out += static_cast<char>(value.size());
  return out + std::string(value);
}
std::string reference(uint32_t number) {
  std::string out = "r";
  append_le<uint32_t>(out, number);
  return out;
}
std::string tuple(std::initializer_list<std::string> items) {
  std::string out = ")";
  out += static_cast<char>(items.size());
  for (const auto& item : items) out += item;
  return out;
}
std::string bytes(std::string_view value) {
  std::string out = "s";
  append_le<uint32_t>(out, static_cast<uint32_t>(value.size()));
  return out + std::string(value);
}
/// A code object as since Python 3.11.
std::string code(const std::string& constants, const std::string& names) {
  std::string out(1, static_cast<char>('c' | kReferenced));
  out.append(20, '\0');
  out += bytes("instructions") + constants + names;
  out += tuple({text("local")}) + bytes("k") + text("file.py") + text("<module>") + text("<module>");
  append_le<uint32_t>(out, 1);
  return out + bytes("lines") + bytes("exceptions");
}
/// And before.
std::string old_code(const std::string& constants, const std::string& names) {
  std::string out = "c";
  out.append(24, '\0');
  out += bytes("instructions") + constants + names;
  out += tuple({}) + tuple({}) + tuple({}) + text("file.py") + text("<module>");
  append_le<uint32_t>(out, 1);
  return out + bytes("lines");
}
std::string pyc(uint16_t magic, const std::string& module) {
  std::string out;
  append_le<uint16_t>(out, magic);
  out += "\r\n";
  return out + std::string(12, '\0') + module;
}

constexpr uint16_t kPython38 = 3413, kPython311 = 3495, kPython314 = 3627;

TEST(PythonNames, ThoseOfTheModuleAreFoundAndThoseOfItsFunctionsAreNot) {
  const std::string inner = code(tuple({"N"}), tuple({text("lazily_imported")}));
  const auto names = names_in_pyc(pyc(kPython311, code(tuple({inner, text("a constant"), "T"}),
                                                       tuple({text("os.path"), text("numpy"), text("array")}))));
  EXPECT_THAT(names.value(), ElementsAre("os.path", "numpy", "array"));
}

TEST(PythonNames, AreFoundWhereTheyOnlyReferToEarlierTexts) {
  // Number 0 is the module's code itself, 1 the inner code, 2 the text in its names.
  const std::string inner = code(tuple({}), tuple({text("numpy", true)}));
  const auto names = names_in_pyc(pyc(kPython314, code(tuple({inner}), tuple({reference(2), text("x")}))));
  EXPECT_THAT(names.value(), ElementsAre("numpy", "x"));
}

TEST(PythonNames, OfOlderPythonsToo) {
  const std::string inner = old_code(tuple({}), tuple({text("not_this")}));
  EXPECT_THAT(names_in_pyc(pyc(kPython38, old_code(tuple({inner}), tuple({text("json")})))).value(),
              ElementsAre("json"));
}

TEST(PythonNames, EveryKindOfConstantIsReadOver) {
  std::string number = "i";
  append_le<int32_t>(number, -7);
  std::string large = "l";
  append_le<int32_t>(large, -2);
  large.append(4, '\1');
  const std::string real = std::string("g") + std::string(8, '\2');
  const std::string complex = std::string("y") + std::string(16, '\3');
  std::string set = ">";
  append_le<uint32_t>(set, 1);
  set += text("member");
  const std::string dictionary = std::string("{") + text("key") + "N" + "0";
  const std::string slice = std::string(":") + "N" + number + "N";
  const auto constants = tuple({number, large, real, complex, set, dictionary, slice, ".", "F", bytes("b")});
  EXPECT_THAT(names_in_pyc(pyc(kPython314, code(constants, tuple({text("re")})))).value(), ElementsAre("re"));
}

TEST(PythonNames, WhatIsNoCompiledModuleHasNone) {
  const std::string good = pyc(kPython311, code(tuple({}), tuple({text("os")})));
  EXPECT_TRUE(names_in_pyc(good));
  EXPECT_FALSE(names_in_pyc(""));
  EXPECT_FALSE(names_in_pyc(pyc(2400, code(tuple({}), tuple({text("os")}))))) << "of a Python that is not known";
  EXPECT_FALSE(names_in_pyc(pyc(kPython311, text("no code"))));
  EXPECT_FALSE(names_in_pyc(std::string_view(good).substr(0, 45))) << "cut before the names";
  EXPECT_FALSE(names_in_pyc(std::string(kMaxPythonBytes + 1, '\0')));
}

TEST(PythonNames, EndlessNestingIsRefused) {
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += ")\1";
  EXPECT_FALSE(names_in_pyc(pyc(kPython311, deep + "N")));
}

TEST(PythonNames, AreReadInSourceFromImportsAlone) {
  EXPECT_THAT(names_in_source(R"(# import commented
"""A text."""
import os, sys as system
import numpy.linalg as la  # import x
from . import sibling
from ..package.module import (first as one,
                              second,
                              third)
from json import dumps
try:
    import simplejson
except ImportError:
    pass
value = "import nothing"
)"),
              ElementsAre("os", "sys", "numpy.linalg", "sibling", "package.module", "first", "second", "third", "json",
                          "dumps", "simplejson"));
}

TEST(PythonNames, AreFoundInAnythingAsWordsWithDots) {
  EXPECT_THAT(names_in_binary(std::string("\0sklearn.utils._heap\0plain\0a.b\n\x8c", 33) + "sklearn.utils._heap"),
              ElementsAre("sklearn.utils._heap", "a.b"));
  EXPECT_TRUE(names_in_binary(std::string(10'000, '.')).empty()) << "too long for a name";
  EXPECT_TRUE(names_in_binary("").empty());
}

TEST(PythonNames, OddSourceEndsQuietly) {
  for (const char* odd :
       {"", "import", "from", "from x", "from x import", "from x import (", "import ,,,", "from . import"}) {
    (void)names_in_source(odd);
  }
  EXPECT_THAT(names_in_source("from x import"), ElementsAre("x"));
  EXPECT_THAT(names_in_source("importlib.reload(x)\nfromage = 1\n"), IsEmpty());
}

}  // namespace
}  // namespace hearth::mount
