// Which layers are fetched to their end although nobody asks for the rest.
#pragma once

namespace hearth::mount {

enum class Completion { off, mounted };

}  // namespace hearth::mount
