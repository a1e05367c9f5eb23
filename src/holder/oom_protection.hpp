// When memory runs out the kernel kills somebody. Never the holder: what it holds would be closed, and reads that wait
// would fail. Its children are judged as they would be without it.
#pragma once

#include <string>

namespace hearth::holder {

inline constexpr const char* kOomScoreFile = "/proc/self/oom_score_adj";

/// Takes this process out of the OOM killer's choice, where that is allowed (CAP_SYS_RESOURCE). Returns the score that
/// children are to have: the one it had; empty when nothing was changed.
std::string protect_from_oom_killer();

}  // namespace hearth::holder
