// Answers of GCS (or of whatever stands in between): listings, descriptions of objects, key files.
#include "base/result.hpp"
#include "blob/gcs_credentials.hpp"
#include "blob/gcs_session.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)hearth::blob::parse_gcs_object(text);
  (void)hearth::blob::service_account_assertion(text, hearth::WallTime{});
  const auto listing = hearth::blob::parse_gcs_listing(text);
  if (!listing) return 0;
  for (const auto& object : listing->objects) CHECK_PROMISE(!object.key.empty());
  return 0;
}
