#include "oci/registry_fetch.hpp"

#include "base/process.hpp"
#include "oci/file_metadata.hpp"
#include "oci/json_document.hpp"

#include <algorithm>
#include <array>
#include <vector>

namespace hearth::oci {

namespace {

constexpr size_t kMaxReferenceBytes = 512;
constexpr size_t kMaxReasonBytes = 1000;
constexpr size_t kKeptMessageBytes = 8 * 1024;
constexpr size_t kMaxManifestBytes = 4 * 1024 * 1024;  // what registries take

Result<> check_reference(std::string_view reference) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@[]";
  const bool well_formed = !reference.empty() && reference.size() <= kMaxReferenceBytes && reference.front() != '-' &&
                           reference.find_first_not_of(kAllowed) == std::string_view::npos;
  const size_t at = reference.find('@');
  if (at != std::string_view::npos && !reference.substr(at + 1).starts_with("sha256:")) {
    return fail(ErrorCode::invalid_argument,
                "a registry reference holds no user or password; log in with `skopeo login` or `docker login` instead");
  }
  if (!well_formed) {
    return fail(ErrorCode::invalid_argument,
                "'" + printable(reference) + "' is no registry reference, such as registry.example/library/debian:12");
  }
  return {};
}

/// A registry on this machine rarely has a certificate; docker treats it the same way.
bool is_local(std::string_view reference) {
  const std::string_view host = reference.substr(0, reference.find('/'));
  const std::string_view name = host.substr(0, host.rfind(':'));
  return name == "localhost" || name.starts_with("127.") || name == "[::1]";
}

/// The last thing skopeo said, without its log dressing: time="…" level=fatal msg="…".
std::string reason(std::string_view output) {
  while (!output.empty() && (output.back() == '\n' || output.back() == '\r')) output.remove_suffix(1);
  std::string_view line = output.substr(output.rfind('\n') + 1);
  if (const size_t message = line.find("msg=\""); message != std::string_view::npos) {
    line = line.substr(message + 5);
    if (line.ends_with('"')) line.remove_suffix(1);
  }
  std::string text;
  for (size_t i = 0; i < std::min(line.size(), kMaxReasonBytes); ++i) {
    const bool escaped = line[i] == '\\' && i + 1 < line.size();
    if (escaped) ++i;
    const bool blank = escaped && (line[i] == 'n' || line[i] == 't');
    if (!blank) text += printable(line.substr(i, 1));
    if (blank && !text.ends_with(' ')) text += ' ';
  }
  return text;
}

ErrorCode code_of(std::string_view output) {
  const auto says = [output](std::string_view words) { return output.contains(words); };
  if (says("unauthorized") || says("authentication required") || says("denied") || says("403 (Forbidden)")) {
    return ErrorCode::denied;
  }
  if (says("manifest unknown") || says("name unknown") || says("not found") || says("404 (Not Found)")) {
    return ErrorCode::not_found;
  }
  if (says("no space left")) return ErrorCode::exhausted;
  return ErrorCode::unavailable;
}

/// One run of skopeo about a reference.
struct Skopeo {
  std::vector<std::string> command;       // with its flags
  std::string no_tls_flag;                // how this command is told that the registry has no certificate
  std::vector<std::string> after;         // arguments behind the reference
  size_t kept_bytes = kKeptMessageBytes;  // of its output
};

/// Gives what it said: the last kept_bytes at least.
Result<std::string> run_skopeo(const RegistryFetch& fetch, const Skopeo& skopeo) {
  const auto program = find_program("skopeo");
  if (!program) return fail(ErrorCode::unavailable, "skopeo is not installed: apt-get install skopeo");
  ProcessOptions options;
  options.args = {*program};
  std::error_code error;
  // Where no signature policy is set there is none to keep.
  if (!std::filesystem::exists("/etc/containers/policy.json", error)) options.args.emplace_back("--insecure-policy");
  const auto add = [&options](const std::vector<std::string>& args) {
    options.args.insert(options.args.end(), args.begin(), args.end());
  };
  add(skopeo.command);
  add({"--retry-times", "3"});
  if (!fetch.auth_file.empty()) add({"--authfile", fetch.auth_file.string()});
  if (is_local(fetch.reference)) add({skopeo.no_tls_flag});
  add({"docker://" + fetch.reference});
  add(skopeo.after);
  options.deadline = fetch.deadline;
  std::string tail;
  options.on_output = [&fetch, &tail, kept = skopeo.kept_bytes](std::string_view bytes) {
    tail.append(bytes);
    if (tail.size() > 2 * kept) tail.erase(0, tail.size() - kept);
    if (fetch.on_line) fetch.on_line(printable(bytes.substr(0, bytes.find_last_not_of("\r\n") + 1)));
  };
  auto done = run_process(options);
  if (!done) return fail_with_context("fetch " + fetch.reference, std::move(done).error());
  if (done->code == 0) return tail;
  const ErrorCode code = code_of(tail);
  const std::string advice =
      code == ErrorCode::denied ? " (log in with `skopeo login`, as the user Hearth runs as)" : "";
  return fail(code, "fetch " + fetch.reference + ": " + reason(tail) + advice);
}

/// Whether these bytes are a manifest, or a list of them, to be named by their digest.
bool is_manifest(std::string_view bytes) {
  const auto json = parse_json_object(bytes, "the manifest");
  if (!json) return false;  // or skopeo had more to say, and the digest would be of that too
  const Json& version = child_or_null(*json, "schemaVersion");
  return version.is_number_integer() && version.get<int64_t>() == 2;
}

}  // namespace

Result<> fetch_from_registry(const RegistryFetch& fetch) {
  TRY_VOID(check_reference(fetch.reference));
  TRY_VOID(run_skopeo(fetch, {.command = {"copy"},
                              .no_tls_flag = "--src-tls-verify=false",
                              .after = {"oci:" + fetch.directory.string() + ":image"}}));
  return {};
}

Result<std::optional<Digest>> registry_digest(const RegistryFetch& fetch) {
  TRY_VOID(check_reference(fetch.reference));
  if (const size_t at = fetch.reference.find('@'); at != std::string::npos) {
    TRY(const Digest digest, Digest::parse(std::string_view(fetch.reference).substr(at + 1)));
    return std::optional(digest);
  }
  RegistryFetch asked = fetch;
  asked.on_line = nullptr;  // it says the manifest
  TRY(const std::string said, run_skopeo(asked, {.command = {"inspect", "--raw"},
                                                 .no_tls_flag = "--tls-verify=false",
                                                 .after = {},
                                                 .kept_bytes = kMaxManifestBytes}));
  return is_manifest(said) ? std::optional(Digest::of(said)) : std::nullopt;
}

std::string pinned(std::string_view reference, const Digest& digest) {
  reference = reference.substr(0, reference.find('@'));
  const size_t name = reference.rfind('/');
  const size_t colon = reference.find(':', name == std::string_view::npos ? 0 : name);
  return std::string(reference.substr(0, colon)) + "@" + digest.to_string();
}

}  // namespace hearth::oci
