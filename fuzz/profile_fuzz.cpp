// Any bytes as a profile, and as a history of starts. What is accepted comes back the same from its own encoding.
#include "image/page_run.hpp"
#include "image/profile.hpp"
#include "image/start_history.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto profile = hearth::image::parse_profile(bytes)) {
    const std::string json = hearth::image::to_json(*profile);
    const auto again = hearth::image::parse_profile(json);
    CHECK_PROMISE(again && hearth::image::to_json(*again) == json);
    CHECK_PROMISE(!hearth::image::summary_line(*profile).empty());
  }
  if (const auto history = hearth::image::decode_history(bytes)) {
    CHECK_PROMISE(hearth::image::decode_history(hearth::image::encode(*history)).value() == *history);
    const auto runs = hearth::image::select_pages(*history);
    CHECK_PROMISE(hearth::image::PageSet(runs).bytes() == hearth::image::bytes_of(runs));  // no page twice
    for (const auto& run : runs) CHECK_PROMISE(hearth::image::is_valid(run));
  }
  return 0;
}
