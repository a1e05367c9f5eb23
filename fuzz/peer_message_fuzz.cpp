// Any bytes as what another node asks or answers: refused, or read back as they are; and never a proof of our secret.
#include "mount/peer_message.hpp"

#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace mount = hearth::mount;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto packs = mount::decode_have(bytes)) {
    CHECK_PROMISE(packs->size() <= mount::kPeerPacksMax && mount::encode_have(*packs) == bytes);
  }
  if (const auto question = mount::decode_peer_read(bytes)) {
    CHECK_PROMISE(question->pieces.size() <= mount::kPeerPiecesMax && question->bytes() <= mount::kPeerReadBytesMax);
    CHECK_PROMISE(mount::encode(*question) == bytes);
  }
  constexpr size_t kPacks = 3;
  if (const auto answer = mount::decode_have_answer(bytes, kPacks)) {
    CHECK_PROMISE(answer->packs.size() == kPacks && mount::encode(*answer) == bytes);
  }
  static const mount::PeerSecret kSecret("sixteen letters!");
  const auto now = hearth::WallTime(hearth::seconds(1'800'000'000));
  CHECK_PROMISE(!kSecret.proven(bytes, mount::kPeerReadPath, "body", now));
  return 0;
}
