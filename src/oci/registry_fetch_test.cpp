// What needs no registry; src/image/registry_test.cpp has one.
#include "oci/registry_fetch.hpp"

#include <gtest/gtest.h>

namespace hearth::oci {
namespace {

struct Row {
  const char* name;
  const char* reference;
  const char* repository;
};

class PinnedTest : public ::testing::TestWithParam<Row> {};

TEST_P(PinnedTest, NamesTheRepositoryAndTheDigest) {
  const Digest digest = Digest::of("a manifest");
  EXPECT_EQ(pinned(GetParam().reference, digest), std::string(GetParam().repository) + "@" + digest.to_string());
}

INSTANTIATE_TEST_SUITE_P(References, PinnedTest,
                         ::testing::Values(Row{"Short", "debian", "debian"}, Row{"ShortWithTag", "debian:12", "debian"},
                                           Row{"Host", "registry.example/a/b", "registry.example/a/b"},
                                           Row{"HostWithTag", "registry.example/a/b:1.2", "registry.example/a/b"},
                                           Row{"Port", "localhost:5000/app", "localhost:5000/app"},
                                           Row{"PortWithTag", "localhost:5000/app:1", "localhost:5000/app"},
                                           Row{"Address", "[::1]:5000/app:1", "[::1]:5000/app"},
                                           Row{"Digest", "host/app@sha256:00", "host/app"},
                                           Row{"TagAndDigest", "host:1/app:1@sha256:00", "host:1/app"}),
                         [](const auto& row) { return row.param.name; });

TEST(RegistryDigest, IsKnownWhereTheReferenceSaysIt) {
  const Digest digest = Digest::of("a manifest");
  EXPECT_EQ(registry_digest({.reference = "127.0.0.1:1/app@" + digest.to_string()}).value(), digest);
  for (const char* wrong : {"127.0.0.1:1/app@sha256:12", "user:word@127.0.0.1:1/app", "--help"}) {
    EXPECT_EQ(registry_digest({.reference = wrong}).error().code, ErrorCode::invalid_argument) << wrong;
  }
}

}  // namespace
}  // namespace hearth::oci
