// The store that the conformance suite is run on: a new directory, or what HEARTH_CONFORMANCE_STORE names.
#pragma once

#include "blob/object_store.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>

namespace hearth::blob {

/// HEARTH_CONFORMANCE_STORE, e.g. "s3://bucket?endpoint=http://127.0.0.1:7480"; empty: a directory.
std::string conformance_url();
/// The same store behind the proxy of tests/fakes/fault_proxy.py (HEARTH_CONFORMANCE_FAULTY_STORE); empty: none.
std::string faulty_url();
/// A URL with a prefix of its own below the store's.
std::string with_prefix(const std::string& url, const std::string& prefix);

/// One place of its own in the store for each test.
class StoreUnderTest : public ::testing::Test {
 protected:
  StoreUnderTest();
  ~StoreUnderTest() override;

  /// Opened anew: for other processes and threads.
  std::shared_ptr<ObjectStore> open() const;
  bool is_remote() const { return !conformance_url().empty(); }
  const std::string& url() const { return url_; }

  std::filesystem::path scratch_;  // a folder
  std::string url_;
  std::shared_ptr<ObjectStore> store_;
};

/// Bytes that differ at every place.
std::string pattern(size_t bytes, uint32_t seed = 1);

/// All that read() gives.
Result<std::string> streamed(ObjectStore& store, std::string_view key, ByteRange range, const Patience& patience = {});

}  // namespace hearth::blob
