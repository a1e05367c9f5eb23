// What S3 answers, as plain structs: listings, errors, multipart uploads.
#pragma once

#include "base/result.hpp"
#include "blob/object_store.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace hearth::blob {

struct S3Listing {
  std::vector<ObjectInfo> objects;
  std::vector<std::string> prefixes;  // of a listing with a delimiter: "a/b/"
  std::string next_token;             // empty: that was all
};

struct S3ErrorAnswer {
  std::string code;  // "NoSuchKey"; empty when the answer was no error document
  std::string message;
  std::string region;  // where the bucket is, when the error is about that
};

/// Of ListObjectsV2. corrupt when it is no such document.
Result<S3Listing> parse_s3_listing(std::string_view xml);
/// Never fails: a proxy in between may answer anything.
S3ErrorAnswer parse_s3_error(std::string_view xml);
/// Of CreateMultipartUpload.
Result<std::string> parse_s3_upload_id(std::string_view xml);

}  // namespace hearth::blob
