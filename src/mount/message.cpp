#include "mount/message.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cctype>

namespace hearth::mount {

namespace {

using nlohmann::json;

constexpr size_t kWorkspaceMax = 255;
constexpr size_t kProfileMax = 128;

ErrorCode parse_code(const std::string& name) {
  for (const auto code : {ErrorCode::invalid_argument, ErrorCode::not_found, ErrorCode::already_exists,
                          ErrorCode::denied, ErrorCode::unavailable, ErrorCode::deadline_exceeded, ErrorCode::exhausted,
                          ErrorCode::corrupt, ErrorCode::cancelled, ErrorCode::internal}) {
    if (to_string(code) == name) return code;
  }
  return ErrorCode::internal;  // a newer imagefs may know more codes
}

/// The object, when it is one and its version is ours.
Result<json> parse(std::string_view bytes) {
  json message = json::parse(bytes, nullptr, false);
  if (!message.is_object()) return fail(ErrorCode::invalid_argument, "imagefs message is not a JSON object");
  const auto version = message.find("version");
  if (version == message.end() || !version->is_number_integer() || *version != kProtocolVersion) {
    return fail(ErrorCode::invalid_argument,
                "imagefs protocol: only version " + std::to_string(kProtocolVersion) + " is spoken here");
  }
  return message;
}

std::string text(const json& message, const char* key) {
  const auto found = message.find(key);
  return found != message.end() && found->is_string() ? found->get<std::string>() : "";
}

uint64_t number(const json& message, const char* key) {
  const auto found = message.find(key);
  return found != message.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

std::string dump(const json& message) {
  return message.dump(-1, ' ', false, json::error_handler_t::replace);
}

bool is_workspace(std::string_view name) {
  return !name.empty() && name.size() <= kWorkspaceMax && name.front() != '.' &&
         std::ranges::all_of(name,
                             [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.'; });
}

constexpr std::array<std::pair<LayerOp, std::string_view>, 4> kOps{{{LayerOp::layer, "layer"},
                                                                    {LayerOp::recorded, "recorded"},
                                                                    {LayerOp::trace, "trace"},
                                                                    {LayerOp::metrics, "metrics"}}};

bool is_profile(std::string_view name) {
  return name.size() <= kProfileMax && std::ranges::all_of(name, [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
         });
}

}  // namespace

std::string encode(const LayerQuestion& question) {
  json message = {{"version", kProtocolVersion},
                  {"op", kOps[static_cast<size_t>(question.op)].second},
                  {"workspace", question.workspace},
                  {"digest", question.digest.to_string()}};
  if (!question.profile.empty()) message["profile"] = question.profile;
  if (question.id_base != 0) message["id_base"] = question.id_base;
  return dump(message);
}

Result<LayerQuestion> decode_question(std::string_view bytes) {
  TRY(const auto message, parse(bytes));
  const auto op = std::ranges::find(kOps, text(message, "op"), [](const auto& known) { return known.second; });
  if (op == kOps.end()) {
    return fail(ErrorCode::invalid_argument, "imagefs knows no operation \"" + text(message, "op") + "\"");
  }
  LayerQuestion question;
  question.op = op->first;
  if (question.op == LayerOp::metrics) return question;
  question.workspace = text(message, "workspace");
  if (!is_workspace(question.workspace)) return fail(ErrorCode::invalid_argument, "bad workspace name");
  TRY(question.digest, Digest::parse(text(message, "digest")));
  question.profile = text(message, "profile");
  if (!is_profile(question.profile)) return fail(ErrorCode::invalid_argument, "bad profile name");
  const uint64_t id_base = number(message, "id_base");
  if (id_base > UINT32_MAX) return fail(ErrorCode::invalid_argument, "bad id_base");
  question.id_base = static_cast<uint32_t>(id_base);
  return question;
}

std::string encode(const LayerAnswer& answer) {
  json message = {{"version", kProtocolVersion}};
  switch (answer.kind) {
    case LayerAnswer::Kind::progress:
      message["progress"] = {{"done", answer.progress.done_bytes}, {"total", answer.progress.total_bytes}};
      break;
    case LayerAnswer::Kind::ready:
      message["ok"] = true;
      message["backend"] = answer.backend;
      if (!answer.trace.empty()) message["trace"] = answer.trace;
      if (!answer.metrics.empty()) message["metrics"] = answer.metrics;
      break;
    case LayerAnswer::Kind::error:
      message["error"] = answer.error.message;
      message["code"] = to_string(answer.error.code);
      break;
  }
  return dump(message);
}

Result<LayerAnswer> decode_answer(std::string_view bytes) {
  TRY(const auto message, parse(bytes));
  LayerAnswer answer;
  if (const auto progress = message.find("progress"); progress != message.end() && progress->is_object()) {
    answer.kind = LayerAnswer::Kind::progress;
    answer.progress = {number(*progress, "done"), number(*progress, "total")};
  } else if (const auto ok = message.find("ok"); ok != message.end() && ok->is_boolean() && ok->get<bool>()) {
    answer.kind = LayerAnswer::Kind::ready;
    answer.backend = text(message, "backend");
    answer.trace = text(message, "trace");
    answer.metrics = text(message, "metrics");
  } else {
    answer.error.code = parse_code(text(message, "code"));
    answer.error.message = text(message, "error");
    if (answer.error.message.empty()) return fail(ErrorCode::corrupt, "imagefs sent a message that says nothing");
  }
  return answer;
}

}  // namespace hearth::mount
