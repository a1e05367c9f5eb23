#include "control/handed_intent.hpp"

#include "base/log.hpp"

#include <nlohmann/json.hpp>

#include <utility>

namespace hearth::control {

HandedIntent read_intent(const nlohmann::json& answer, std::string workspace) {
  HandedIntent intent{.workspace = std::move(workspace), .id = "", .since = mono_now()};
  if (const auto found = answer.find("intent"); found != answer.end() && found->is_string()) {
    intent.id = found->get<std::string>();
  }
  return intent;
}

Result<> check_in_time(const HandedIntent& intent) {
  if (mono_now() - intent.since < blob::kHandOverLife) return {};
  return fail(ErrorCode::unavailable, "what was built may have been collected since; try again");
}

void end_handed(blob::ObjectStore& store, const HandedIntent& intent) {
  if (intent.id.empty()) return;
  if (auto ended = blob::end_intent(store, intent.workspace, intent.id); !ended) {
    log_warning("an intent stays in the store until it lapses",
                {{"intent", intent.id}, {"error", ended.error().message}});
  }
}

}  // namespace hearth::control
