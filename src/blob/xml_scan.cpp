#include "blob/xml_scan.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace hearth::blob {

namespace {

constexpr size_t kDepthMax = 16;
constexpr size_t kNameMaxBytes = 256;

Unexpected malformed(std::string_view why) {
  return fail(ErrorCode::corrupt, "not an answer in XML: " + std::string(why));
}

void append_utf8(std::string& out, uint32_t code) {
  const auto put = [&out](uint32_t byte) { out.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | (code >> 6));
    put(0x80 | (code & 63));
  } else if (code < 0x10000) {
    put(0xE0 | (code >> 12));
    put(0x80 | ((code >> 6) & 63));
    put(0x80 | (code & 63));
  } else {
    put(0xF0 | (code >> 18));
    put(0x80 | ((code >> 12) & 63));
    put(0x80 | ((code >> 6) & 63));
    put(0x80 | (code & 63));
  }
}

/// "#10", "#x1F600"
std::optional<uint32_t> character_reference(std::string_view name) {
  name.remove_prefix(1);
  const bool hex = name.starts_with('x');
  if (hex) name.remove_prefix(1);
  uint32_t code = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), code, hex ? 16 : 10);
  const bool whole = error == std::errc() && end == name.data() + name.size() && !name.empty();
  if (!whole || code == 0 || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return std::nullopt;
  return code;
}

Result<> append_text(std::string& out, std::string_view raw) {
  for (size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '&') {
      out.push_back(raw[i]);
      continue;
    }
    const size_t end = raw.find(';', i);
    if (end == std::string_view::npos || end - i < 2) return malformed("a lone '&'");
    const std::string_view name = raw.substr(i + 1, end - i - 1);
    if (name.starts_with('#')) {
      const auto code = character_reference(name);
      if (!code) return malformed("no such character");
      append_utf8(out, *code);
    } else if (name == "lt") {
      out.push_back('<');
    } else if (name == "gt") {
      out.push_back('>');
    } else if (name == "amp") {
      out.push_back('&');
    } else if (name == "quot") {
      out.push_back('"');
    } else if (name == "apos") {
      out.push_back('\'');
    } else {
      return malformed("an unknown entity");
    }
    i = end;
  }
  return {};
}

/// Where a tag ends: '>' inside a quoted attribute is none.
size_t end_of_tag(std::string_view rest) {
  char quote = '\0';
  for (size_t i = 0; i < rest.size(); ++i) {
    if (quote != '\0') {
      if (rest[i] == quote) quote = '\0';
    } else if (rest[i] == '"' || rest[i] == '\'') {
      quote = rest[i];
    } else if (rest[i] == '>') {
      return i;
    }
  }
  return std::string_view::npos;
}

struct Scanner {
  std::string_view rest;
  const std::function<void(const XmlPath&, std::string_view)>* on_text;
  XmlPath path{};
  std::vector<bool> has_children{};
  std::string text{};
  bool root_seen = false;

  Result<std::string> local_name(std::string_view name) {
    if (const size_t colon = name.find(':'); colon != std::string_view::npos) name.remove_prefix(colon + 1);
    if (name.empty() || name.size() > kNameMaxBytes) return malformed("an element without a name");
    return std::string(name);
  }

  Result<> open(std::string_view tag) {
    const bool empty = tag.ends_with('/');
    if (empty) tag.remove_suffix(1);
    TRY(std::string name, local_name(tag.substr(0, tag.find_first_of(" \t\r\n"))));
    if (path.empty() && root_seen) return malformed("two roots");
    root_seen = true;
    if (path.size() >= kDepthMax) return malformed("nested too deeply");
    if (!has_children.empty()) has_children.back() = true;
    path.push_back(std::move(name));
    has_children.push_back(false);
    text.clear();
    return empty ? close(path.back()) : Result<>{};
  }

  Result<> close(std::string_view name) {
    if (path.empty() || path.back() != name) return malformed("an end without a beginning");
    if (!has_children.back()) (*on_text)(path, text);
    path.pop_back();
    has_children.pop_back();
    text.clear();
    return {};
  }

  /// Past "<!--…-->", "<?…?>" or "<![CDATA[…]]>"; nothing when it is none of them.
  Result<bool> skip_special() {
    const auto past = [this](std::string_view begin, std::string_view end) -> std::optional<std::string_view> {
      const size_t at = rest.find(end, begin.size());
      if (at == std::string_view::npos) return std::nullopt;
      const std::string_view inside = rest.substr(begin.size(), at - begin.size());
      rest.remove_prefix(at + end.size());
      return inside;
    };
    constexpr std::string_view kCdata = "<![CDATA[";
    if (rest.starts_with(kCdata)) {
      const auto inside = past(kCdata, "]]>");
      if (!inside || path.empty()) return malformed("a broken CDATA section");
      text += *inside;
      return true;
    }
    for (const auto& [begin, end] : {std::pair<std::string_view, std::string_view>{"<!--", "-->"}, {"<?", "?>"}}) {
      if (!rest.starts_with(begin)) continue;
      if (!past(begin, end)) return malformed("a comment without an end");
      return true;
    }
    if (rest.starts_with("<!")) return malformed("a document type");
    return false;
  }

  Result<> step() {
    if (!rest.starts_with('<')) {
      const size_t end = std::min(rest.find('<'), rest.size());
      const std::string_view raw = rest.substr(0, end);
      rest.remove_prefix(end);
      if (!path.empty()) return append_text(text, raw);
      const bool blank = raw.find_first_not_of(" \t\r\n\xEF\xBB\xBF") == std::string_view::npos;
      return blank ? Result<>{} : malformed("text outside of elements");
    }
    TRY(const bool special, skip_special());
    if (special) return {};
    const size_t end = end_of_tag(rest);
    if (end == std::string_view::npos || end < 2) return malformed("a tag without an end");
    std::string_view tag = rest.substr(1, end - 1);
    rest.remove_prefix(end + 1);
    if (!tag.starts_with('/')) return open(tag);
    tag.remove_prefix(1);
    while (!tag.empty() && std::string_view(" \t\r\n").contains(tag.back())) tag.remove_suffix(1);
    TRY(const std::string name, local_name(tag));
    return close(name);
  }
};

}  // namespace

Result<> scan_xml(std::string_view document,
                  const std::function<void(const XmlPath&, std::string_view text)>& on_text) {
  Scanner scanner{.rest = document, .on_text = &on_text};
  while (!scanner.rest.empty()) TRY_VOID(scanner.step());
  if (!scanner.path.empty() || !scanner.root_seen) return malformed("it ends too early");
  return {};
}

Result<std::string> xml_text(std::string_view document, const XmlPath& path) {
  std::optional<std::string> found;
  TRY_VOID(scan_xml(document, [&found, &path](const XmlPath& at, std::string_view text) {
    if (!found && at == path) found = std::string(text);
  }));
  return found.value_or("");
}

}  // namespace hearth::blob
