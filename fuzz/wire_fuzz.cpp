// The frame decoder on hostile bytes, fed in pieces: it never reads outside what arrived, its views add up to the
// frame, and what it accepts survives a round trip through the writers.
#include "wire/frame_decoder.hpp"
#include "wire/frame_writer.hpp"
#include "wire/hello.hpp"
#include "wire/kept_results.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>

namespace hearth::wire {
namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void check_requests(const Frame& frame) {
  RequestBatchWriter writer;
  for (const Request& entry : Entries<Request>(frame)) require(writer.add(entry, entry.payload) == Added::yes);
  std::string out;
  writer.write(out, frame.seq());
  if (out.empty()) return;
  FrameDecoder decoder;
  decoder.feed(out);
  const auto again = decoder.next();
  require(again && *again && (*again)->body.size() == frame.body.size());
}

void check_results(const Frame& frame) {
  KeptResults kept;
  size_t bytes = 0;
  for (const ResultView& entry : Entries<ResultView>(frame)) {
    const ResultPayload payload{entry.value, entry.stdout_text, entry.stderr_text};
    bytes += payload.size();
    kept.keep(entry, payload);
  }
  require(kept.bytes() == bytes && kept.count() == frame.header.count);
  std::string out;
  kept.append_after(0, out);
  FrameDecoder decoder;
  decoder.feed(out);
  const auto again = decoder.next();
  require(again && (!*again || (*again)->body == frame.body));
  kept.acknowledge(kept.last_seq());
  require(kept.bytes() == 0);
}

void check(const Frame& frame) {
  switch (frame.type()) {
    case FrameType::hello:
      if (const auto hello = parse_hello(frame.body)) (void)agree_version(Hello{}, *hello).has_value();
      break;
    case FrameType::requests:
      check_requests(frame);
      break;
    case FrameType::results:
      check_results(frame);
      break;
    case FrameType::credits:
      for (const CreditEntry& entry : Entries<CreditEntry>(frame)) (void)entry.limit;
      break;
    case FrameType::cancel:
    case FrameType::attach:
      for (const IdEntry& entry : Entries<IdEntry>(frame)) (void)entry.id;
      break;
    case FrameType::progress: {
      size_t bytes = frame.header.count * ProgressEntry::kWireBytes;
      for (const Progress& entry : Entries<Progress>(frame)) bytes += entry.payload.size();
      require(bytes == frame.body.size());
      break;
    }
    default:
      break;
  }
}

}  // namespace
}  // namespace hearth::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t step = size_t{data[0]} + 1;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  hearth::wire::FrameDecoder decoder(size_t{1} << 20);
  for (size_t at = 0; at < bytes.size(); at += step) {
    decoder.feed(bytes.substr(at, step));
    while (true) {
      const auto frame = decoder.next();
      if (!frame) return 0;
      if (!*frame) break;
      hearth::wire::check(**frame);
    }
  }
  return 0;
}
