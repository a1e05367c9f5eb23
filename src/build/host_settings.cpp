#include "build/host_settings.hpp"

#include "base/file.hpp"
#include "base/process.hpp"
#include "build/pip_settings.hpp"

#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>

namespace hearth::build {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kOpen = 0644;    // apt's own user must read it
constexpr unsigned kSecret = 0600;  // root alone

std::string inside(std::string_view name) {
  return fmt::format("{}/{}", kSettingsInside, name);
}

/// 'text' as one word of a POSIX shell.
std::string shell_word(std::string_view text) {
  std::string out = "'";
  for (char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

class Collector {
 public:
  Collector(const SettingsSources& sources, fs::path directory) : sources_(sources), directory_(std::move(directory)) {}

  Result<HostSettings> collect() {
    TRY_VOID(make_directories(directory_ / "apt"));
    TRY_VOID(collect_certificates());
    TRY_VOID(collect_netrc());
    TRY_VOID(collect_pip());
    TRY_VOID(collect_apt());
    TRY_VOID(write_environment());
    return std::move(settings_);
  }

 private:
  fs::path host(std::string_view path) const { return sources_.root / path.substr(path.starts_with('/') ? 1 : 0); }

  std::string variable(const std::string& name) const {
    const auto found = sources_.environment.find(name);
    return found == sources_.environment.end() ? "" : found->second;
  }

  Result<> write(const std::string& name, std::string_view text, unsigned mode) {
    return write_file_atomic(directory_ / name, text, mode);
  }

  /// Copies a file if it is there; whether it was.
  Result<bool> copy(const fs::path& from, const std::string& to, unsigned mode) {
    auto text = read_file(from);
    if (!text && text.error().code == ErrorCode::not_found) return false;
    if (!text) return Unexpected(std::move(text).error());
    settings_.mask.learn(*text);
    TRY_VOID(write(to, *text, mode));
    return true;
  }

  /// A file that a setting names: copied, and its new name inside; the old one when there is no such file.
  Result<std::string> carried(std::string_view path) {
    if (!path.starts_with('/') || !fs::is_regular_file(host(path))) return std::string(path);
    const std::string name = fmt::format("file-{}-{}", files_++, fs::path(path).filename().string());
    TRY_VOID(copy(host(path), name, kOpen));
    return inside(name);
  }

  void note_folder(std::string_view path) {
    if (path.starts_with("file://")) path.remove_prefix(7);
    if (path.starts_with("file:") || path.starts_with("copy:")) path.remove_prefix(5);
    while (path.starts_with("//")) path.remove_prefix(1);
    if (!path.starts_with('/') || path == "/" || !fs::exists(host(path))) return;
    folders_.insert(std::string(path));
  }

  Result<> collect_certificates();
  Result<> collect_netrc();
  Result<> collect_pip();
  Result<> collect_apt();
  Result<> collect_sources();
  Result<> copy_folder(const fs::path& from, const std::string& to, unsigned mode);
  Result<std::string> rewritten_sources(std::string text);
  Result<std::string> network_options();
  Result<> write_environment();

  const SettingsSources& sources_;
  fs::path directory_;
  HostSettings settings_;
  std::set<std::string> folders_;
  std::map<std::string, std::string> exports_;
  int files_ = 0;
  bool certificates_ = false;
};

Result<> Collector::collect_certificates() {
  std::string path = "/etc/ssl/certs/ca-certificates.crt";
  for (const char* name : {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"}) {
    if (const std::string set = variable(name); fs::is_regular_file(host(set))) path = set;
  }
  TRY(certificates_, copy(host(path), "ca.pem", kOpen));
  if (certificates_) {
    for (const char* name : {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"})
      exports_[name] = inside("ca.pem");
  }
  return {};
}

Result<> Collector::collect_netrc() {
  const std::string set = variable("NETRC");
  TRY(const bool there, copy(set.empty() ? sources_.home / ".netrc" : host(set), "netrc", kSecret));
  if (there) exports_["NETRC"] = inside("netrc");
  return {};
}

/// Options that say where to install or what to keep: ours to decide.
bool is_ours(std::string_view option) {
  constexpr std::array<std::string_view, 14> kOurs = {
      "user", "target", "prefix", "root",     "require-virtualenv", "cache-dir",    "no-cache-dir",
      "log",  "python", "src",    "editable", "requirement",        "progress-bar", "dry-run"};
  return std::ranges::find(kOurs, option) != kOurs.end();
}

Result<> Collector::collect_pip() {
  PipLayers layers;
  const std::string config_home = variable("XDG_CONFIG_HOME");
  std::vector<fs::path> files = {
      host("/etc/xdg/pip/pip.conf"), host("/etc/pip.conf"), sources_.home / ".pip/pip.conf",
      (config_home.empty() ? sources_.home / ".config" : host(config_home)) / "pip/pip.conf"};
  const std::string named = variable("PIP_CONFIG_FILE");
  if (named == "/dev/null") files.clear();  // pip's way to say: no files at all
  if (!named.empty() && named != "/dev/null") files.push_back(host(named));
  for (const fs::path& file : files) {
    if (auto text = read_file(file)) layers.add_file(*text);
  }
  for (const auto& [name, value] : sources_.environment) layers.add_variable(name, value);

  PipOptions options;
  for (auto& [name, value] : layers.merged()) {
    if (is_ours(name)) continue;
    settings_.mask.learn(value);
    options[name] = value;
    if (name == "cert" || name == "client-cert" || name == "constraint") {
      TRY(options[name], carried(value));
    }
    if (name != "find-links" && name != "index-url" && name != "extra-index-url") continue;
    for (std::string_view rest = value; !rest.empty();) {
      const std::string_view word = rest.substr(0, rest.find(' '));
      note_folder(word);
      rest.remove_prefix(std::min(rest.size(), word.size() + 1));
    }
  }
  if (certificates_ && !options.contains("cert")) options["cert"] = inside("ca.pem");
  options["break-system-packages"] = "true";  // the interpreter of an image is ours to fill
  options["root-user-action"] = "ignore";
  options["disable-pip-version-check"] = "true";
  options["no-input"] = "true";
  options["cache-dir"] = "/hearth/pip-cache";
  exports_["PIP_CONFIG_FILE"] = inside("pip.conf");
  return write("pip.conf", to_pip_conf(options), kSecret);
}

Result<> Collector::copy_folder(const fs::path& from, const std::string& to, unsigned mode) {
  TRY_VOID(make_directories(directory_ / to));
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(from, error)) {
    if (!entry.is_regular_file()) continue;
    TRY_VOID(copy(entry.path(), to + "/" + entry.path().filename().string(), mode));
  }
  return {};
}

/// Keys named by absolute path are copied, local package folders noted.
Result<std::string> Collector::rewritten_sources(std::string text) {
  constexpr std::string_view kSeparators = " \t\n,]";
  std::string lower = text;
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::string out;
  size_t copied = 0;
  for (size_t at = lower.find("signed-by"); at != std::string::npos; at = lower.find("signed-by", at + 1)) {
    size_t begin = at + 9;
    while (begin < text.size() && (text[begin] == '=' || text[begin] == ':' || text[begin] == ' ')) ++begin;
    if (begin >= text.size() || text[begin] != '/') continue;
    const size_t end = std::min(text.find_first_of(kSeparators, begin), text.size());
    TRY(const std::string name, carried(std::string_view(text).substr(begin, end - begin)));
    out.append(text, copied, begin - copied);
    out += name;
    copied = end;
  }
  out.append(text, copied);
  for (const char* scheme : {"file:", "copy:"}) {
    for (size_t at = text.find(scheme); at != std::string::npos; at = text.find(scheme, at + 1)) {
      note_folder(std::string_view(text).substr(at, text.find_first_of(kSeparators, at) - at));
    }
  }
  return out;
}

Result<> Collector::collect_sources() {
  std::vector<std::pair<fs::path, std::string>> files = {{host("/etc/apt/sources.list"), "apt/sources.list"}};
  TRY_VOID(make_directories(directory_ / "apt/sources.list.d"));
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(host("/etc/apt/sources.list.d"), error)) {
    const fs::path name = entry.path().filename();
    if (name.extension() == ".list" || name.extension() == ".sources") {
      files.emplace_back(entry.path(), "apt/sources.list.d/" + name.string());
    }
  }
  for (const auto& [from, to] : files) {
    auto text = read_file(from);
    if (!text) continue;
    settings_.mask.learn(*text);
    TRY(const std::string rewritten, rewritten_sources(std::move(*text)));
    TRY_VOID(write(to, rewritten, kOpen));
  }
  return {};
}

/// "Acquire::…" as the host's apt has it in effect; files it names are copied.
Result<std::string> Collector::network_options() {
  std::string out;
  if (sources_.root != "/" || !find_program("apt-config")) return out;
  TRY(const ProcessExit dump, run_process({.args = {"apt-config", "dump"}}));
  settings_.mask.learn(dump.output);
  std::string_view rest = dump.output;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (!line.starts_with("Acquire::") || line.starts_with("Acquire::IndexTargets")) continue;
    const size_t quote = line.find('"');
    const size_t end = line.rfind('"');
    if (quote == std::string_view::npos || end <= quote + 1) continue;
    TRY(const std::string value, carried(line.substr(quote + 1, end - quote - 1)));
    out += fmt::format("{}{}\";\n", line.substr(0, quote + 1), value);
  }
  return out;
}

Result<> Collector::collect_apt() {
  TRY(const std::string acquire, network_options());
  std::string network = acquire;
  if (certificates_ && !acquire.contains("https::CaInfo")) {
    network = fmt::format("Acquire::https::CaInfo \"{}\";\n", inside("ca.pem")) + network;
  }
  network += fmt::format("Dir::Etc::netrc \"{0}/apt/auth.conf\";\nDir::Etc::netrcparts \"{0}/apt/auth.conf.d\";\n",
                         kSettingsInside);
  TRY_VOID(write("apt-network.conf", network, kSecret));
  network += fmt::format(
      "Dir::Etc::sourcelist \"{0}/apt/sources.list\";\nDir::Etc::sourceparts \"{0}/apt/sources.list.d\";\n"
      "Dir::Etc::trusted \"{0}/apt/trusted.gpg\";\nDir::Etc::trustedparts \"{0}/apt/trusted.gpg.d\";\n"
      "Dir::Etc::preferences \"{0}/apt/preferences\";\nDir::Etc::preferencesparts \"{0}/apt/preferences.d\";\n",
      kSettingsInside);
  TRY_VOID(write("apt.conf", network, kSecret));
  TRY_VOID(copy(host("/etc/apt/auth.conf"), "apt/auth.conf", kSecret));
  TRY_VOID(copy_folder(host("/etc/apt/auth.conf.d"), "apt/auth.conf.d", kSecret));
  TRY_VOID(copy(host("/etc/apt/trusted.gpg"), "apt/trusted.gpg", kOpen));
  TRY_VOID(copy_folder(host("/etc/apt/trusted.gpg.d"), "apt/trusted.gpg.d", kOpen));
  TRY_VOID(copy(host("/etc/apt/preferences"), "apt/preferences", kOpen));
  TRY_VOID(copy_folder(host("/etc/apt/preferences.d"), "apt/preferences.d", kOpen));
  return collect_sources();
}

Result<> Collector::write_environment() {
  for (const char* name : {"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy", "HTTP_PROXY",
                           "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"}) {
    if (const std::string value = variable(name); !value.empty()) {
      settings_.mask.learn(value);
      exports_[name] = value;
    }
  }
  if (auto release = read_file(host("/etc/os-release"))) exports_["HEARTH_HOST_RELEASE"] = release_of(*release);
  std::string text;
  for (const auto& [name, value] : exports_) text += fmt::format("export {}={}\n", name, shell_word(value));
  settings_.local_folders.assign(folders_.begin(), folders_.end());
  return write("env.sh", text, kSecret);
}

}  // namespace

std::string release_of(std::string_view os_release) {
  std::map<std::string, std::string, std::less<>> fields;
  while (!os_release.empty()) {
    std::string_view line = os_release.substr(0, os_release.find('\n'));
    os_release.remove_prefix(std::min(os_release.size(), line.size() + 1));
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    std::string value(line.substr(equals + 1));
    std::erase(value, '"');
    fields[std::string(line.substr(0, equals))] = value;
  }
  return fields["ID"] + " " + fields["VERSION_CODENAME"];
}

SettingsSources SettingsSources::of_this_process() {
  SettingsSources sources;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view variable = *entry;
    const size_t equals = variable.find('=');
    if (equals != std::string_view::npos)
      sources.environment.emplace(variable.substr(0, equals), variable.substr(equals + 1));
  }
  const auto home = sources.environment.find("HOME");
  sources.home = home == sources.environment.end() || home->second.empty() ? "/root" : home->second;
  return sources;
}

Result<HostSettings> collect_host_settings(const SettingsSources& sources, const fs::path& directory) {
  return Collector(sources, directory).collect();
}

}  // namespace hearth::build
