#include "blob/testing/store_under_test.hpp"

#include "base/random_id.hpp"

#include <cstdlib>

namespace hearth::blob {

namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

std::string conformance_url() {
  return variable("HEARTH_CONFORMANCE_STORE");
}

std::string faulty_url() {
  return variable("HEARTH_CONFORMANCE_FAULTY_STORE");
}

std::string with_prefix(const std::string& url, const std::string& prefix) {
  const size_t query = std::min(url.find('?'), url.size());
  return url.substr(0, query) + "/" + prefix + url.substr(query);
}

StoreUnderTest::StoreUnderTest()
    : scratch_(std::filesystem::temp_directory_path() / ("hearth-conformance-" + random_id())) {
  std::filesystem::create_directories(scratch_ / "store");
  url_ = is_remote() ? with_prefix(conformance_url(), "t-" + random_id()) : (scratch_ / "store").string();
  store_ = open();
}

StoreUnderTest::~StoreUnderTest() {
  std::filesystem::remove_all(scratch_);
}

std::shared_ptr<ObjectStore> StoreUnderTest::open() const {
  return open_store(url_).value();
}

std::string pattern(size_t bytes, uint32_t seed) {
  std::string text(bytes, '\0');
  uint32_t state = seed * 2654435761u + 1;
  for (char& c : text) {
    state = state * 1664525u + 1013904223u;
    c = static_cast<char>(state >> 24);
  }
  return text;
}

Result<std::string> streamed(ObjectStore& store, std::string_view key, ByteRange range, const Patience& patience) {
  std::string all;
  TRY_VOID(store.read(
      key, range,
      [&all](std::string_view bytes) -> Result<> {
        all += bytes;
        return {};
      },
      patience));
  return all;
}

}  // namespace hearth::blob
