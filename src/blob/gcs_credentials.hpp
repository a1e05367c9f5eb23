// Where Google access tokens come from: a service account's key, a user's refresh token, or the metadata service.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "blob/renewed.hpp"
#include "blob/store_environment.hpp"

#include <string>
#include <string_view>

namespace hearth::blob {

using GcsToken = Renewed<std::string>;

/// One look: GOOGLE_APPLICATION_CREDENTIALS, else what `gcloud auth application-default login` left, else the metadata
/// service. Blocks on the network. denied when there is none, with what to do.
Result<GcsToken::Fetched> fetch_gcs_token(const StoreEnvironment& environment);

/// The signed assertion that a service account trades for a token (RFC 7523). invalid_argument for a key file that
/// lacks what it needs; the message never holds a part of it.
Result<std::string> service_account_assertion(std::string_view key_file_json, WallTime now);

}  // namespace hearth::blob
