// Reads stored JSON records strictly: every failure is `corrupt` and names the field. Private to the catalog.
#pragma once

#include "base/clock.hpp"
#include "base/digest.hpp"
#include "base/result.hpp"

#include <nlohmann/json_fwd.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::catalog {

/// An object's fields. Reads stop at the first that is missing or of the wrong kind; result() tells which.
class JsonFields {
 public:
  /// `what` names the record in errors, e.g. "version record".
  JsonFields(const nlohmann::json& object, std::string what);

  void read(const char* key, std::string& value);
  void read(const char* key, bool& value);
  void read(const char* key, double& value);
  void read(const char* key, uint32_t& value);
  void read(const char* key, uint64_t& value);
  void read(const char* key, Digest& value);
  void read(const char* key, WallTime& value);
  void read(const char* key, std::chrono::milliseconds& value);
  void read(const char* key, std::vector<std::string>& value);
  void read(const char* key, std::map<std::string, std::string>& value);
  void read(const char* key, std::map<std::string, uint32_t, std::less<>>& value);
  /// The text must be one of `names`; answers its index.
  void read_one_of(const char* key, const std::vector<std::string_view>& names, size_t& index);

  /// The nested value, or a null value when it is missing (noted as an error).
  const nlohmann::json& nested(const char* key);
  /// A nested list; empty when it is missing (noted as an error).
  const nlohmann::json& list(const char* key);
  /// Notes an error of a nested record.
  void check(const Result<>& result);

  Result<> result() const { return result_; }

 private:
  const nlohmann::json* find(const char* key);
  void wrong(const char* key, std::string_view expected);

  const nlohmann::json& object_;
  std::string what_;
  Result<> result_;
};

/// Parses a stored record and checks that it is an object with "format": 1.
Result<nlohmann::json> parse_stored(std::string_view text, std::string_view what);

}  // namespace hearth::catalog
