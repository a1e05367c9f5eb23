#include "blob/s3_answers.hpp"

#include "blob/xml_scan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hearth::blob {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(S3Listing, IsReadWhateverElseStandsInIt) {
  const auto listing = parse_s3_listing(R"(<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Name>bucket</Name><Prefix>a/</Prefix><KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys>
  <IsTruncated>true</IsTruncated><NextContinuationToken>1ueG&amp;c=</NextContinuationToken>
  <!-- a comment --><Contents><Key>a/1</Key><Size>5</Size><Owner><ID>x</ID></Owner></Contents>
  <Contents><Key>a/&lt;&#252;&#x1F600;&quot;</Key><ETag>&quot;e&quot;</ETag></Contents>
  <CommonPrefixes><Prefix>a/b/</Prefix></CommonPrefixes>
</ListBucketResult>)")
                           .value();
  EXPECT_THAT(listing.objects, ElementsAre(ObjectInfo{"a/1", 5}, ObjectInfo{"a/<\xC3\xBC\xF0\x9F\x98\x80\"", 0}));
  EXPECT_THAT(listing.prefixes, ElementsAre("a/b/"));
  EXPECT_EQ(listing.next_token, "1ueG&c=");
}

TEST(S3Listing, TheLastPageHasNoToken) {
  const auto listing = parse_s3_listing(
      "<s3:ListBucketResult xmlns:s3='x'><s3:IsTruncated>false</s3:IsTruncated>"
      "<s3:NextContinuationToken>x</s3:NextContinuationToken></s3:ListBucketResult>");
  EXPECT_EQ(listing.value().next_token, "");
  EXPECT_THAT(listing.value().objects, IsEmpty());
}

TEST(S3Listing, WhatIsNoneIsCorrupt) {
  for (const char* wrong :
       {"", "   ", "<", "<a", "<a>", "</a>", "<a></b>", "<a/><b/>", "text", "<ListBucketResult>", "<Other/>",
        "<html><br></html>", "<!DOCTYPE x [<!ENTITY a 'b'>]><ListBucketResult/>",
        "<ListBucketResult>&unknown;</ListBucketResult>", "<ListBucketResult>&#0;</ListBucketResult>",
        "<ListBucketResult>&#xD800;</ListBucketResult>", "<ListBucketResult>& </ListBucketResult>",
        "<ListBucketResult><![CDATA[x</ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"}) {
    EXPECT_EQ(parse_s3_listing(wrong).error().code, ErrorCode::corrupt) << wrong;
  }
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "<a>";
  EXPECT_EQ(parse_s3_listing(deep).error().code, ErrorCode::corrupt);
}

TEST(S3Error, IsReadFromS3AndFromSts) {
  const auto s3 = parse_s3_error("<Error><Code>NoSuchKey</Code><Message>gone</Message><Key>k</Key></Error>");
  EXPECT_EQ(s3.code, "NoSuchKey");
  EXPECT_EQ(s3.message, "gone");
  const auto sts = parse_s3_error(
      "<ErrorResponse><Error><Type>Sender</Type><Code>ExpiredTokenException</Code></Error></ErrorResponse>");
  EXPECT_EQ(sts.code, "ExpiredTokenException");
  EXPECT_EQ(parse_s3_error("<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>").region,
            "eu-west-1");
  EXPECT_EQ(parse_s3_error("a proxy's page").code, "");
}

TEST(XmlScan, TakesCdataAsItIs) {
  EXPECT_EQ(xml_text("<a><b>x<![CDATA[<&]]>y</b></a>", {"a", "b"}).value(), "x<&y");
  EXPECT_EQ(xml_text("<a><b attribute='1>2'/></a>", {"a", "b"}).value(), "");
}

}  // namespace
}  // namespace hearth::blob
