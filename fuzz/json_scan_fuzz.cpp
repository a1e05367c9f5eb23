// Any bytes as an inference body: the scanner's verdict is that of another parser, and its spans are JSON.
#include "policy/row_order.hpp"
#include "router/inference_body.hpp"
#include "router/json_cursor.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

namespace {

using hearth::router::is_json;

void require(bool condition) {
  if (!condition) std::abort();
}

/// Where the two parsers differ by intention: nesting, numbers beyond a double, lone surrogates, BOM, and a NUL that
/// the other takes for the end.
bool may_differ(std::string_view text) {
  return text.find_first_of(std::string_view("\0eE", 3)) != text.npos || text.contains("\\u") ||
         text.starts_with("\xEF\xBB\xBF") || text.size() > 300;
}

void check_spans(const hearth::router::InferenceBody& body) {
  std::vector<std::string_view> ids;
  for (const auto& row : body.rows) {
    if (!row.arguments.empty()) require(is_json("[" + std::string(row.arguments) + "]"));
    if (body.shape == hearth::router::BodyShape::single) continue;
    require(is_json(row.id));
    ids.push_back(row.id);
  }
  const auto order = hearth::policy::order_rows(ids);
  if (!order) return;
  require(order->size() == ids.size());
  for (size_t i = 1; i < order->size(); ++i) {
    require(hearth::policy::compare_row_ids(ids[(*order)[i - 1]], ids[(*order)[i]]) < 0);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const bool accepted = is_json(text);
  if (!may_differ(text)) require(accepted == nlohmann::json::accept(text));
  if (const auto body = hearth::router::parse_inference_body(text)) {
    require(accepted);
    check_spans(*body);
  }
  return 0;
}
