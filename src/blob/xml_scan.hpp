// Reads the flat XML answers of S3 and STS: elements with text, a few levels deep. Not a general XML parser.
#pragma once

#include "base/result.hpp"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::blob {

/// The path of an element, from the root: {"ListBucketResult", "Contents", "Key"}; namespace prefixes are dropped.
using XmlPath = std::vector<std::string>;

/// Calls `on_text` at the end of each element that has no elements in it, with its text (entities resolved, CDATA taken
/// as it is). corrupt for what is not well-formed, nests too deeply, or has a document type (no entity tricks).
Result<> scan_xml(std::string_view document, const std::function<void(const XmlPath&, std::string_view text)>& on_text);

/// The text of the first element of that path; empty when there is none.
Result<std::string> xml_text(std::string_view document, const XmlPath& path);

}  // namespace hearth::blob
