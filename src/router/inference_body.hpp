// The body of a native inference request, cut into spans. Values are never parsed or rewritten: they pass through.
#pragma once

#include "base/result.hpp"

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

namespace hearth::router {

struct RowSpan {
  std::string_view id;         // JSON text of a number or a string; empty for a single call
  std::string_view arguments;  // comma-separated JSON values without brackets; may be empty
};

enum class BodyShape { single, batch };

/// What the answer shall carry beside the result ("include").
struct Include {
  bool stdout_text = false;
  bool stderr_text = false;
  bool timings = false;
};

/// All spans point into the body.
struct InferenceBody {
  static constexpr size_t kMaxRows = 100'000;

  BodyShape shape = BodyShape::single;
  std::vector<RowSpan> rows;  // exactly one for a single call
  std::optional<double> timeout_seconds;
  Include include;
};

/// `{"data": …}`: a single value, `[a, b]` = positional arguments, `[[id, a, b], …]` = batch (data[0] is a list).
/// `"single": true` makes the whole of data one argument, whatever it is; `"batch": false` makes a list of lists
/// positional arguments; `"batch": true` insists on a batch. Errors: invalid_argument says where and why; exhausted
/// for more than kMaxRows rows.
Result<InferenceBody> parse_inference_body(std::string_view body);

/// The same for a body whose only content is its "include" header value: "stdout, timings".
Result<> add_includes(std::string_view comma_separated, Include& include);

}  // namespace hearth::router
