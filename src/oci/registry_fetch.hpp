// Images from a registry, through skopeo: it knows registries, mirrors, proxies and credential stores, so we need not.
#pragma once

#include "base/clock.hpp"
#include "base/digest.hpp"
#include "base/result.hpp"

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace hearth::oci {

struct RegistryFetch {
  std::string reference;            // "registry.example.org/team/app:1.2" or with @sha256:…
  std::filesystem::path directory;  // becomes an OCI layout; must not exist yet
  std::filesystem::path auth_file;  // empty: where skopeo looks by itself
  Deadline deadline;
  std::function<void(std::string_view line)> on_line;  // what skopeo says
};

/// Credentials never appear in the command line: skopeo reads them from a file. Errors: invalid_argument (not a
/// reference), not_found, denied (log in first), unavailable (no skopeo, no registry), deadline_exceeded.
Result<> fetch_from_registry(const RegistryFetch& fetch);

/// What the reference stands for now: SHA-256 of the manifest, or of the list of manifests for several machines, that
/// the registry gives for it; nothing else is fetched. A reference with a digest says it itself: nobody is asked.
/// Nothing where it cannot be named by its digest (manifests of the first version, which are signed). Errors as above.
Result<std::optional<Digest>> registry_digest(const RegistryFetch& fetch);

/// The reference to exactly what has this digest: "registry.example.org/team/app@sha256:…".
std::string pinned(std::string_view reference, const Digest& digest);

}  // namespace hearth::oci
