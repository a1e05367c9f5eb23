// Answers of an S3 server (or of whatever stands in between): listings, errors. What was read as keys is read the same
// way when it is written down again.
#include "base/result.hpp"
#include "blob/s3_answers.hpp"
#include "blob/xml_scan.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace {

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) out += "&#" + std::to_string(static_cast<unsigned char>(c)) + ";";
  return out;
}

bool is_ascii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 128 || c == '\0') return false;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)hearth::blob::parse_s3_error(text);
  (void)hearth::blob::parse_s3_upload_id(text);
  const auto listing = hearth::blob::parse_s3_listing(text);
  if (!listing) return 0;
  std::string again = "<ListBucketResult>";
  for (const auto& object : listing->objects) {
    if (!is_ascii(object.key)) return 0;
    again +=
        "<Contents><Key>" + escaped(object.key) + "</Key><Size>" + std::to_string(object.size) + "</Size></Contents>";
  }
  const auto second = hearth::blob::parse_s3_listing(again + "</ListBucketResult>");
  CHECK_PROMISE(second && second->objects == listing->objects);
  return 0;
}
