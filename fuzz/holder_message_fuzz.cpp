// Any bytes: decoded or refused, and what was decoded encodes to the same bytes.
#include "holder/message.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto same = [bytes](const std::string& again) {  // bytes 2 and 3 are reserved and not kept
    return again.size() == bytes.size() && again.substr(0, 2) == bytes.substr(0, 2) &&
           again.substr(4) == bytes.substr(4);
  };
  if (const auto request = hearth::holder::decode_request(bytes)) CHECK_PROMISE(same(encode(*request)));
  if (const auto reply = hearth::holder::decode_reply(bytes)) (void)encode(*reply);
  return 0;
}
