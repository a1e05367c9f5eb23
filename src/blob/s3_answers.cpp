#include "blob/s3_answers.hpp"

#include "blob/xml_scan.hpp"

#include <charconv>

namespace hearth::blob {

Result<S3Listing> parse_s3_listing(std::string_view xml) {
  S3Listing listing;
  bool right = false;
  bool truncated = false;
  TRY_VOID(scan_xml(xml, [&](const XmlPath& path, std::string_view text) {
    if (path.front() != "ListBucketResult") return;
    right = true;
    if (path.size() == 3 && path[1] == "Contents") {
      if (path[2] == "Key") listing.objects.push_back({.key = std::string(text)});
      if (path[2] == "Size" && !listing.objects.empty()) {
        std::from_chars(text.data(), text.data() + text.size(), listing.objects.back().size);
      }
    }
    if (path.size() == 3 && path[1] == "CommonPrefixes" && path[2] == "Prefix") listing.prefixes.emplace_back(text);
    if (path.size() != 2) return;
    if (path[1] == "IsTruncated") truncated = text == "true";
    if (path[1] == "NextContinuationToken") listing.next_token = text;
  }));
  if (!right) return fail(ErrorCode::corrupt, "not a listing of a bucket");
  if (!truncated) listing.next_token.clear();
  if (truncated && listing.next_token.empty()) {
    return fail(ErrorCode::corrupt, "a listing that goes on, but does not say where");
  }
  return listing;
}

S3ErrorAnswer parse_s3_error(std::string_view xml) {
  S3ErrorAnswer error;
  const auto scanned = scan_xml(xml, [&error](const XmlPath& path, std::string_view text) {
    if (path.size() < 2) return;  // S3: Error/Code; STS: ErrorResponse/Error/Code
    if (path[path.size() - 2] != "Error") return;
    if (path.back() == "Code") error.code = text;
    if (path.back() == "Message") error.message = text;
    if (path.back() == "Region") error.region = text;
  });
  if (!scanned) return {};
  return error;
}

Result<std::string> parse_s3_upload_id(std::string_view xml) {
  TRY(std::string id, xml_text(xml, {"InitiateMultipartUploadResult", "UploadId"}));
  if (id.empty()) return fail(ErrorCode::corrupt, "the store began an upload without naming it");
  return id;
}

}  // namespace hearth::blob
