#include "mount/peer_message.hpp"

#include "base/file.hpp"
#include "base/hmac.hpp"
#include "base/little_endian.hpp"
#include "base/trimmed.hpp"
#include "image/layer_index.hpp"

#include <array>
#include <charconv>
#include <numeric>

namespace hearth::mount {

namespace {

constexpr size_t kPieceBytes = 12;  // u64 plain offset, u32 length
constexpr size_t kNodeBytes = 8;
constexpr uint64_t kSecretFileBytesMax = 4096;
constexpr size_t kSecretBytesMin = 16;
/// A proof is good for so long, and one that claims to be good for longer is none. Between both: how far clocks differ.
constexpr int64_t kProofSeconds = 300;
constexpr int64_t kProofSecondsMax = 900;

void append(std::string& bytes, const Digest& digest) {
  bytes.append(digest.bytes().begin(), digest.bytes().end());
}

Digest digest_at(std::string_view bytes, size_t offset) {
  std::array<uint8_t, Digest::kSize> raw{};
  std::ranges::copy(bytes.substr(offset, Digest::kSize), raw.begin());
  return Digest(raw);
}

int64_t unix_seconds(WallTime time) {
  return to_unix_us(time) / 1'000'000;
}

/// Takes equally long wherever they differ.
bool equal_in_constant_time(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i)
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  return difference == 0;
}

}  // namespace

uint64_t PeerReadQuestion::bytes() const {
  return std::accumulate(pieces.begin(), pieces.end(), uint64_t{0},
                         [](uint64_t sum, const ChunkRead::Piece& piece) { return sum + piece.length; });
}

std::string encode_have(std::span<const Digest> packs) {
  std::string bytes;
  for (const Digest& pack : packs) append(bytes, pack);
  return bytes;
}

Result<std::vector<Digest>> decode_have(std::string_view bytes) {
  const size_t count = bytes.size() / Digest::kSize;
  if (count == 0 || count > kPeerPacksMax || bytes.size() % Digest::kSize != 0) {
    return fail(ErrorCode::invalid_argument, "not 1 to " + std::to_string(kPeerPacksMax) + " digests of packs");
  }
  std::vector<Digest> packs;
  packs.reserve(count);
  for (size_t i = 0; i < count; ++i) packs.push_back(digest_at(bytes, i * Digest::kSize));
  return packs;
}

std::string encode(const PeerHaveAnswer& answer) {
  std::string bytes;
  append_le(bytes, answer.node);
  for (const PeerHas has : answer.packs) bytes.push_back(static_cast<char>(has));
  return bytes;
}

Result<PeerHaveAnswer> decode_have_answer(std::string_view bytes, size_t count) {
  if (bytes.size() != kNodeBytes + count)
    return fail(ErrorCode::corrupt, "a peer speaks of other packs than was asked");
  PeerHaveAnswer answer{.node = load_le<uint64_t>(bytes, 0), .packs = {}};
  for (const char byte : bytes.substr(kNodeBytes)) {
    const auto value = static_cast<uint8_t>(byte);
    if (value > static_cast<uint8_t>(PeerHas::all)) return fail(ErrorCode::corrupt, "a peer's answer makes no sense");
    answer.packs.push_back(static_cast<PeerHas>(value));
  }
  return answer;
}

std::string encode(const PeerReadQuestion& question) {
  std::string bytes;
  append(bytes, question.pack);
  for (const auto& piece : question.pieces) {
    append_le(bytes, piece.plain_offset);
    append_le(bytes, piece.length);
  }
  return bytes;
}

Result<PeerReadQuestion> decode_peer_read(std::string_view bytes) {
  const size_t rest = bytes.size() - std::min(bytes.size(), Digest::kSize);
  if (rest == 0 || rest % kPieceBytes != 0 || rest / kPieceBytes > kPeerPiecesMax) {
    return fail(ErrorCode::invalid_argument, "not a pack and 1 to " + std::to_string(kPeerPiecesMax) + " pieces of it");
  }
  PeerReadQuestion question{.pack = digest_at(bytes, 0), .pieces = {}};
  for (size_t at = Digest::kSize; at < bytes.size(); at += kPieceBytes) {
    const ChunkRead::Piece piece{load_le<uint64_t>(bytes, at), load_le<uint32_t>(bytes, at + sizeof(uint64_t))};
    if (piece.length == 0 || piece.length > image::kChunkBytes || piece.plain_offset % image::kPageBytes != 0 ||
        piece.plain_offset > image::kPackPlainBytes) {
      return fail(ErrorCode::invalid_argument, "a piece that is no chunk");
    }
    question.pieces.push_back(piece);
  }
  if (question.bytes() > kPeerReadBytesMax)
    return fail(ErrorCode::invalid_argument, "more bytes than are given at once");
  return question;
}

Result<PeerSecret> PeerSecret::open(const std::filesystem::path& file) {
  auto text = read_file(file, kSecretFileBytesMax);
  if (!text) return fail_with_context("the secret that nodes share", std::move(text).error());
  std::string_view secret = *text;
  while (secret.ends_with('\n')) secret.remove_suffix(1);
  secret = trimmed(secret);
  if (secret.size() < kSecretBytesMin) {
    return fail(ErrorCode::invalid_argument, "the secret that nodes share, in " + file.string() + ", has fewer than " +
                                                 std::to_string(kSecretBytesMin) + " characters");
  }
  return PeerSecret(std::string(secret));
}

std::string PeerSecret::sign(std::string_view path, std::string_view body, int64_t expires) const {
  std::string message = "POST\n";
  message.append(path).append("\n").append(std::to_string(expires)).append("\n").append(Digest::of(body).hex());
  return std::to_string(expires) + ":" + to_hex(hmac_sha256(secret_, message));
}

std::string PeerSecret::prove(std::string_view path, std::string_view body, WallTime now) const {
  return sign(path, body, unix_seconds(now) + kProofSeconds);
}

bool PeerSecret::proven(std::string_view proof, std::string_view path, std::string_view body, WallTime now) const {
  int64_t expires = 0;
  const auto [end, error] = std::from_chars(proof.data(), proof.data() + proof.size(), expires);
  if (error != std::errc{} || end == proof.data() + proof.size() || *end != ':') return false;
  const int64_t time = unix_seconds(now);
  if (expires < time || expires > time + kProofSecondsMax) return false;
  return equal_in_constant_time(proof, sign(path, body, expires));
}

}  // namespace hearth::mount
