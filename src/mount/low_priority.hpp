// For threads that work when nobody else wants to.
#pragma once

namespace hearth::mount {

/// Makes the calling thread the last in line for processor and disks, for good. Failing costs politeness only.
void lower_priority();

}  // namespace hearth::mount
