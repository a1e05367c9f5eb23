// The messages of the imagefs protocol (docs/formats/imagefs.md): JSON, one per packet.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "mount/imagefs_client.hpp"

#include <string>
#include <string_view>

namespace hearth::mount {

inline constexpr int kProtocolVersion = 1;

struct LayerQuestion {
  std::string workspace;
  Digest digest;
};

/// One message of imagefs: progress, success (one descriptor comes with it) or an error.
struct LayerAnswer {
  enum class Kind { progress, ready, error } kind = Kind::error;
  LayerProgress progress;
  std::string backend;
  Error error;
};

std::string encode(const LayerQuestion& question);
/// Total: any bytes may come. invalid_argument with the reason.
Result<LayerQuestion> decode_question(std::string_view bytes);

std::string encode(const LayerAnswer& answer);
Result<LayerAnswer> decode_answer(std::string_view bytes);

}  // namespace hearth::mount
