// The messages of the imagefs protocol (docs/formats/imagefs.md): JSON, one per packet.
#pragma once

#include "base/digest.hpp"
#include "base/result.hpp"
#include "mount/imagefs_client.hpp"

#include <string>
#include <string_view>

namespace hearth::mount {

inline constexpr int kProtocolVersion = 1;

/// What is asked: a layer's mount, something about the start that one belongs to, or about imagefs as a whole.
enum class LayerOp {
  layer,     // mount it
  recorded,  // the start is over: what was read so far is what the next start will read
  trace,     // what the last start with this profile waited for
  metrics,   // of this imagefs; names no layer
};

struct LayerQuestion {
  LayerOp op = LayerOp::layer;
  std::string workspace;
  Digest digest;
  std::string profile;   // names the workload whose reads are recorded and fetched ahead; empty: none
  uint32_t id_base = 0;  // host id of root, for back ends whose mounts cannot be id-mapped
};

/// One message of imagefs: progress, success (a mount's descriptor comes with it; a trace and metrics have text) or an
/// error.
struct LayerAnswer {
  enum class Kind { progress, ready, error } kind = Kind::error;
  LayerProgress progress{};
  std::string backend{};
  std::string trace{};    // JSON
  std::string metrics{};  // Prometheus text format
  Error error{};
};

std::string encode(const LayerQuestion& question);
/// Total: any bytes may come. invalid_argument with the reason.
Result<LayerQuestion> decode_question(std::string_view bytes);

std::string encode(const LayerAnswer& answer);
Result<LayerAnswer> decode_answer(std::string_view bytes);

}  // namespace hearth::mount
