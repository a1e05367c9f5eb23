// Any bytes as what imagefs reads that others wrote: questions and answers of its protocol, and entries of the ledger
// of mounts. What is accepted comes back the same from its own encoding.
#include "mount/message.hpp"
#include "mount/mount_ledger.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using hearth::mount::decode_answer;
  using hearth::mount::decode_ledger_entry;
  using hearth::mount::decode_question;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto question = decode_question(bytes)) {
    const std::string again = encode(*question);
    CHECK_PROMISE(encode(decode_question(again).value()) == again);
  }
  if (const auto answer = decode_answer(bytes)) {
    const std::string again = encode(*answer);
    CHECK_PROMISE(encode(decode_answer(again).value()) == again);
  }
  if (const auto entry = decode_ledger_entry(bytes, "boot")) {
    const std::string again = encode(*entry, "boot");
    CHECK_PROMISE(encode(decode_ledger_entry(again, "boot").value(), "boot") == again);
  }
  return 0;
}
