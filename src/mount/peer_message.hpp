// What nodes ask each other for cached content: bytes of questions and answers, without sockets (docs/formats/peer.md).
#pragma once

#include "base/clock.hpp"
#include "base/digest.hpp"
#include "base/result.hpp"
#include "mount/chunk_tier.hpp"

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::mount {

inline constexpr std::string_view kPeerHavePath = "/peer/v1/have";
inline constexpr std::string_view kPeerReadPath = "/peer/v1/read";
inline constexpr std::string_view kPeerProofHeader = "Hearth-Peer-Proof";

inline constexpr size_t kPeerPacksMax = 256;  // in one question
inline constexpr size_t kPeerPiecesMax = 2048;
inline constexpr uint64_t kPeerReadBytesMax = uint64_t{8} << 20;  // plain bytes of one answer
inline constexpr size_t kPeerQuestionBytesMax = size_t{32} << 10;

/// How much of a pack a node has verified.
enum class PeerHas : uint8_t { none = 0, part = 1, all = 2 };

/// Answer to "which of these packs do you have".
struct PeerHaveAnswer {
  uint64_t node = 0;  // made at random when its imagefs started: who sees his own has asked himself
  std::vector<PeerHas> packs;
};

/// "Give me these plain bytes of this pack."
struct PeerReadQuestion {
  Digest pack;
  std::vector<ChunkRead::Piece> pieces;
  uint64_t bytes() const;
};

std::string encode_have(std::span<const Digest> packs);
std::string encode(const PeerHaveAnswer& answer);
std::string encode(const PeerReadQuestion& question);

/// invalid_argument for anything that the encoders do not make. They take hostile bytes (fuzz/peer_message_fuzz.cpp).
Result<std::vector<Digest>> decode_have(std::string_view bytes);
/// corrupt, likewise; `count`: of packs that were asked for.
Result<PeerHaveAnswer> decode_have_answer(std::string_view bytes, size_t count);
Result<PeerReadQuestion> decode_peer_read(std::string_view bytes);

/// The secret that nodes share, and proofs that one has it: "<expires>:<hex>", where expires is in seconds since 1970
/// and the rest HMAC-SHA-256 of "POST\n<path>\n<expires>\n<SHA-256 of the body in hex>".
class PeerSecret {
 public:
  explicit PeerSecret(std::string secret) : secret_(std::move(secret)) {}
  /// not_found, denied; invalid_argument when it is shorter than 16 characters. Blanks at its ends are no part of it.
  static Result<PeerSecret> open(const std::filesystem::path& file);

  std::string prove(std::string_view path, std::string_view body, WallTime now) const;
  bool proven(std::string_view proof, std::string_view path, std::string_view body, WallTime now) const;

 private:
  std::string sign(std::string_view path, std::string_view body, int64_t expires) const;
  std::string secret_;
};

}  // namespace hearth::mount
