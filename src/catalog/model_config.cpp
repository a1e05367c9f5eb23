#include "catalog/model_config.hpp"

#include "catalog/names.hpp"
#include "catalog/toml_section.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ranges>

namespace hearth::catalog {
namespace {

using std::chrono::milliseconds;

constexpr std::array<std::string_view, 3> kModes = {"row", "batch", "dataframe"};
constexpr uint64_t kMemoryMin = uint64_t{32} << 20;  // an interpreter and its supervisor need about this much
constexpr uint64_t kTmpMin = uint64_t{1} << 20;
constexpr uint32_t kPidsMin = 16;
constexpr uint32_t kPidsMax = 4'194'304;  // the kernel's own limit
constexpr uint32_t kSlotsMax = 1'024;
constexpr double kCpuMin = 0.01;
constexpr double kCpuMax = 4'096;
constexpr milliseconds kDurationMax = std::chrono::hours(24 * 365);

bool is_identifier(std::string_view text) {
  const auto letter = [](char c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (text.empty() || !letter(text[0])) return false;
  return std::ranges::all_of(text, [letter, digit](char c) { return letter(c) || digit(c); });
}

bool is_module(std::string_view text) {
  while (true) {
    const size_t dot = text.find('.');
    if (!is_identifier(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

Unexpected wrong(const std::string& place, std::string_view what) {
  return fail(ErrorCode::invalid_argument, fmt::format("{} {}", place, what));
}

/// A path that stays inside the folder: relative, no empty, "." or ".." part; one slash may end a folder's name.
bool is_inner_path(std::string_view path) {
  if (path.ends_with('/')) path.remove_suffix(1);
  if (path.empty() || path.size() > 4'000) return false;
  while (true) {
    const size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part.empty() || part == "." || part == ".." || part.size() > 255) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

/// "https://user:secret@host": it would be stored with the version and shown to whoever may read it.
bool has_credentials(std::string_view text) {
  const size_t scheme = text.find("://");
  if (scheme == std::string_view::npos) return false;
  const std::string_view rest = text.substr(scheme + 3);
  const std::string_view authority = rest.substr(0, rest.find('/'));
  const size_t at = authority.rfind('@');
  return at != std::string_view::npos && authority.substr(0, at).contains(':');
}

Result<> check_entry_point(const TomlSection& section, std::string_view key, const std::string& value) {
  if (value.empty()) return {};
  if (auto entry = parse_entry_point(value); !entry) {
    return fail_with_context(section.place(key), std::move(entry).error());
  }
  return {};
}

Result<> read_model(const TomlSection& section, ModelConfig& config) {
  TRY_VOID(section.check_keys({"name", "handler", "setup", "ready", "mode", "preload"}));
  TRY_VOID(section.read("name", config.name));
  TRY_VOID(section.read("handler", config.handler));
  TRY_VOID(section.read("setup", config.setup));
  TRY_VOID(section.read("ready", config.ready));
  TRY_VOID(section.read("preload", config.preload));
  if (config.name.empty()) return wrong(section.place("name"), "is missing: add name = \"my-model\" under [model]");
  if (config.handler.empty()) {
    return wrong(section.place("handler"), "is missing: add handler = \"module:function\" under [model]");
  }
  if (auto good = check_model_name(config.name); !good) {
    return fail_with_context(section.place("name"), std::move(good).error());
  }
  TRY_VOID(check_entry_point(section, "handler", config.handler));
  TRY_VOID(check_entry_point(section, "setup", config.setup));
  TRY_VOID(check_entry_point(section, "ready", config.ready));

  std::string mode = "row";
  TRY_VOID(section.read("mode", mode));
  const auto found = std::ranges::find(kModes, mode);
  if (found == kModes.end()) return wrong(section.place("mode"), "must be \"row\", \"batch\" or \"dataframe\"");
  config.mode = static_cast<CallMode>(found - kModes.begin());
  return {};
}

Result<> check_packages(const TomlSection& section, const ImageConfig& image) {
  for (const std::string& package : image.python_packages) {
    const bool control = std::ranges::any_of(package, [](char c) { return static_cast<unsigned char>(c) < 0x20; });
    if (package.empty() || package.starts_with('-') || control) {
      return wrong(section.place("python_packages"),
                   "must hold requirements as in \"numpy==1.26.4\"; options of pip belong into its own settings");
    }
    if (has_credentials(package)) {
      return wrong(section.place("python_packages"),
                   "must not hold credentials: put them into the pip settings or netrc of the machine that builds");
    }
  }
  for (const std::string& package : image.system_packages) {
    const auto allowed = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || std::string_view("+.-:=~/_").contains(c) ||
             (c >= 'A' && c <= 'Z');
    };
    const bool good = !package.empty() && package.size() < 200 && std::ranges::all_of(package, allowed) &&
                      ((package[0] >= 'a' && package[0] <= 'z') || (package[0] >= '0' && package[0] <= '9')) &&
                      !package.ends_with('-');  // to apt that means: remove it
    if (!good) {
      return wrong(
          section.place("system_packages"),
          fmt::format("must hold Debian package names as in \"libgomp1\"; \"{}\" is none", package.substr(0, 80)));
    }
  }
  return {};
}

Result<> check_env(const TomlSection& section, const ImageConfig& image) {
  for (const auto& [name, value] : image.env) {
    if (!is_identifier(name)) {
      return wrong(section.place("env"), fmt::format("has \"{}\", which is no name of a variable", name.substr(0, 80)));
    }
    if (name.starts_with("HEARTH_")) {
      return wrong(section.place("env"), fmt::format("has {}: names that start with HEARTH_ are Hearth's own", name));
    }
  }
  return {};
}

Result<> read_image(const TomlSection& section, ImageConfig& image) {
  TRY_VOID(section.check_keys({"base", "python_packages", "requirements", "wheels", "system_packages", "env"}));
  TRY_VOID(section.read("base", image.base));
  TRY_VOID(section.read("python_packages", image.python_packages));
  TRY_VOID(section.read("requirements", image.requirements));
  TRY_VOID(section.read("wheels", image.wheels));
  TRY_VOID(section.read("system_packages", image.system_packages));
  TRY_VOID(section.read("env", image.env));
  if (!is_image_source(image.base)) {
    if (auto good = check_image_name(image.base); !good) {
      return fail_with_context(section.place("base"), std::move(good).error());
    }
  } else if (has_credentials(image.base)) {
    return wrong(section.place("base"), "must not hold credentials: log in with skopeo on the machine that builds");
  }
  for (const auto& [key, path] : {std::pair("requirements", &image.requirements), std::pair("wheels", &image.wheels)}) {
    if (!path->empty() && !is_inner_path(*path)) {
      return wrong(section.place(key), "must be a path inside the folder, without \"..\"");
    }
  }
  TRY_VOID(check_packages(section, image));
  return check_env(section, image);
}

Result<> read_artifacts(const TomlSection& section, ModelConfig& config) {
  TRY_VOID(section.read_table(config.artifacts));
  for (const auto& [to, from] : config.artifacts) {
    if (!is_inner_path(to) || to.ends_with('/')) {
      return wrong(section.place(to), "must be named by a path below the code folder, without \"..\"");
    }
    if (!is_inner_path(from)) return wrong(section.place(to), "must be a path inside the folder, without \"..\"");
    for (const auto& [other, other_from] : config.artifacts) {
      if (other.starts_with(to + "/")) return wrong(section.place(other), "lies inside another artifact");
    }
  }
  return {};
}

Result<> read_resources(const TomlSection& section, ResourceConfig& resources) {
  TRY_VOID(section.check_keys({"cpu", "memory", "pids", "tmp", "slots", "network"}));
  TRY_VOID(section.read_number("cpu", resources.cpu));
  TRY_VOID(section.read_bytes("memory", resources.memory_bytes));
  TRY_VOID(section.read_count("pids", resources.pids));
  TRY_VOID(section.read_bytes("tmp", resources.tmp_bytes));
  TRY_VOID(section.read_count("slots", resources.slots));
  TRY_VOID(section.read("network", resources.network));
  if (resources.cpu < kCpuMin || resources.cpu > kCpuMax) {
    return wrong(section.place("cpu"), "must be between 0.01 and 4096 cores");
  }
  if (resources.memory_bytes < kMemoryMin) return wrong(section.place("memory"), "must be at least \"32MiB\"");
  if (resources.memory_bytes > INT64_MAX) return wrong(section.place("memory"), "is more than any machine has");
  if (resources.tmp_bytes < kTmpMin) return wrong(section.place("tmp"), "must be at least \"1MiB\"");
  if (resources.tmp_bytes > INT64_MAX) return wrong(section.place("tmp"), "is more than any machine has");
  if (resources.slots < 1 || resources.slots > kSlotsMax) return wrong(section.place("slots"), "must be 1 to 1024");
  if (resources.pids < kPidsMin || resources.pids > kPidsMax) {
    return wrong(section.place("pids"), "must be 16 to 4194304");
  }
  return {};
}

Result<> read_timeouts(const TomlSection& section, TimeoutConfig& timeouts) {
  TRY_VOID(section.check_keys({"request", "start", "idle_pause", "idle_stop"}));
  const std::array<std::pair<std::string_view, milliseconds*>, 4> all = {{{"request", &timeouts.request},
                                                                          {"start", &timeouts.start},
                                                                          {"idle_pause", &timeouts.idle_pause},
                                                                          {"idle_stop", &timeouts.idle_stop}}};
  for (const auto& [key, value] : all) {
    TRY_VOID(section.read_duration(key, *value));
    if (value->count() < 0 || *value > kDurationMax) return wrong(section.place(key), "must be at most a year");
    const bool may_be_zero = key.starts_with("idle_");
    if (value->count() == 0 && !may_be_zero) return wrong(section.place(key), "must be more than nothing");
  }
  return {};
}

}  // namespace

std::string_view to_string(CallMode mode) {
  return kModes.at(static_cast<size_t>(mode));
}

Result<EntryPoint> parse_entry_point(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || !is_module(text.substr(0, colon)) || !is_identifier(text.substr(colon + 1))) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("\"{}\" must look like module:function, as in \"model:predict\" for the function predict in "
                    "model.py",
                    text.substr(0, 80)));
  }
  return EntryPoint{std::string(text.substr(0, colon)), std::string(text.substr(colon + 1))};
}

bool is_image_source(std::string_view base) {
  return base.starts_with("oci:") || base.starts_with("docker-archive:") || base.starts_with("docker://");
}

Result<ModelConfig> parse_model_config(std::string_view toml) {
  TRY(auto document, TomlDocument::parse(toml));
  TRY_VOID(document.check_sections({"model", "image", "artifacts", "resources", "timeouts"}));
  ModelConfig config;
  TRY(auto model, document.section("model"));
  TRY(auto image, document.section("image"));
  TRY(auto artifacts, document.section("artifacts"));
  TRY(auto resources, document.section("resources"));
  TRY(auto timeouts, document.section("timeouts"));
  TRY_VOID(read_model(model, config));
  TRY_VOID(read_image(image, config.image));
  TRY_VOID(read_artifacts(artifacts, config));
  TRY_VOID(read_resources(resources, config.resources));
  TRY_VOID(read_timeouts(timeouts, config.timeouts));
  return config;
}

}  // namespace hearth::catalog
