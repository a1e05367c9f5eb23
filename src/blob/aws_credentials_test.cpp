#include "blob/aws_credentials.hpp"

#include "base/random_id.hpp"
#include "blob/aws_profile.hpp"
#include "blob/testing/scripted_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace hearth::blob {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Variables = std::map<std::string, std::string, std::less<>>;

class AwsCredentialsTest : public ::testing::Test {
 protected:
  AwsCredentialsTest() { std::filesystem::create_directory(folder_); }
  ~AwsCredentialsTest() override { std::filesystem::remove_all(folder_); }

  std::string file(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
  /// With no files and no instance, unless the test gives them.
  Result<AwsCredentials::Fetched> fetch(Variables variables, const std::string& profile = "default") const {
    variables.emplace("HOME", folder_.string());
    variables.emplace("AWS_EC2_METADATA_DISABLED", "true");
    return fetch_aws_keys({.environment = StoreEnvironment(std::move(variables)), .profile = profile});
  }

  std::filesystem::path folder_ = std::filesystem::temp_directory_path() / ("aws-test-" + random_id(8));
};

TEST_F(AwsCredentialsTest, TheEnvironmentComesFirst) {
  const auto keys = fetch({{"AWS_ACCESS_KEY_ID", "id"},
                           {"AWS_SECRET_ACCESS_KEY", "secret"},
                           {"AWS_SESSION_TOKEN", "token"},
                           {"AWS_SHARED_CREDENTIALS_FILE", file("c", "[default]\naws_access_key_id = other\n")}})
                        .value();
  EXPECT_EQ(keys.value.id, "id");
  EXPECT_EQ(keys.value.secret, "secret");
  EXPECT_EQ(keys.value.token, "token");
  EXPECT_EQ(keys.expires, std::nullopt);
  EXPECT_THAT(fetch({{"AWS_ACCESS_KEY_ID", "id"}}).error().message, HasSubstr("AWS_SECRET_ACCESS_KEY"));
}

TEST_F(AwsCredentialsTest, AProfileIsReadFromTheSharedFile) {
  const std::string shared =
      file("credentials",
           "# comment\n[default]\naws_access_key_id=a\naws_secret_access_key=b\n\n"
           "[ other ]\naws_access_key_id =  c \r\naws_secret_access_key = d=e/+\naws_session_token=t\n"
           "s3 =\n  region = nested\nregion = eu-west-1\n");
  const Variables variables = {{"AWS_SHARED_CREDENTIALS_FILE", shared}};
  EXPECT_EQ(fetch(variables).value().value.id, "a");
  const auto other = fetch(variables, "other").value().value;
  EXPECT_EQ(other.id, "c");
  EXPECT_EQ(other.secret, "d=e/+");
  EXPECT_EQ(other.token, "t");
  EXPECT_EQ(AwsProfile::read(StoreEnvironment(variables), "other").region, "eu-west-1");
  EXPECT_FALSE(fetch(variables, "absent"));
}

TEST_F(AwsCredentialsTest, AProfileOfAKindThatIsNotKnownIsNamed) {
  const auto refused =
      fetch({{"AWS_CONFIG_FILE", file("config", "[profile dev]\nsso_session = corp\nregion = eu-north-1\n")}}, "dev");
  EXPECT_EQ(refused.error().code, ErrorCode::denied);
  EXPECT_THAT(refused.error().message, HasSubstr("sso_session"));
}

TEST_F(AwsCredentialsTest, WithoutAnySourceItSaysWhatToSet) {
  const auto refused = fetch({});
  EXPECT_EQ(refused.error().code, ErrorCode::denied);
  EXPECT_THAT(refused.error().message, HasSubstr("AWS_ACCESS_KEY_ID"));
  EXPECT_THAT(refused.error().message, HasSubstr("anonymous=true"));
}

TEST_F(AwsCredentialsTest, AContainersServiceIsAskedWithItsToken) {
  ScriptedServer server([](const ScriptedServer::Request& request) {
    if (request.path != "/keys" || request.header("Authorization") != "pass word") return http_answer(403, "");
    return http_answer(200,
                       R"({"AccessKeyId":"i","SecretAccessKey":"s","Token":"t","Expiration":"2030-01-02T03:04:05Z"})");
  });
  const auto keys = fetch({{"AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url() + "/keys"},
                           {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file("token", "pass word\n")}})
                        .value();
  EXPECT_EQ(keys.value.id, "i");
  EXPECT_EQ(keys.value.token, "t");
  EXPECT_EQ(keys.expires, from_iso8601("2030-01-02T03:04:05Z"));
  EXPECT_EQ(fetch({{"AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url() + "/keys"}}).error().code, ErrorCode::denied);
}

TEST_F(AwsCredentialsTest, AContainersServiceElsewhereIsNotAskedInTheClear) {
  for (const char* uri :
       {"http://example.org/keys", "http://127.0.0.1.example.org/", "http://localhost.evil/", "ftp://x"}) {
    EXPECT_EQ(fetch({{"AWS_CONTAINER_CREDENTIALS_FULL_URI", uri}}).error().code, ErrorCode::invalid_argument) << uri;
  }
}

TEST_F(AwsCredentialsTest, AnInstancesRoleIsAskedForByVersionTwo) {
  ScriptedServer server([](const ScriptedServer::Request& request) {
    if (request.path == "/latest/api/token") {
      const bool right = request.method == "PUT" && request.header("X-aws-ec2-metadata-token-ttl-seconds") == "21600";
      return right ? http_answer(200, "session") : http_answer(400, "");
    }
    if (request.header("X-aws-ec2-metadata-token") != "session") return http_answer(401, "");
    if (request.path == "/latest/meta-data/iam/security-credentials/") return http_answer(200, "my role\n");
    if (request.path == "/latest/meta-data/iam/security-credentials/my%20role") {
      return http_answer(200, R"({"Code":"Success","AccessKeyId":"i","SecretAccessKey":"s","Token":"t",
                                  "Expiration":"2030-01-01T00:00:00Z"})");
    }
    return http_answer(404, "");
  });
  const Variables variables = {{"AWS_EC2_METADATA_DISABLED", "false"},
                               {"AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url()}};
  EXPECT_EQ(fetch(variables).value().value.id, "i");
}

TEST_F(AwsCredentialsTest, AWebIdentityIsTradedForKeys) {
  ScriptedServer server([](const ScriptedServer::Request& request) {
    const bool right = request.method == "POST" && request.body.contains("Action=AssumeRoleWithWebIdentity") &&
                       request.body.contains("WebIdentityToken=the%2Bjwt") &&
                       request.body.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fx");
    if (!right) return http_answer(403, "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>");
    return http_answer(200,
                       "<AssumeRoleWithWebIdentityResponse xmlns=\"x\"><AssumeRoleWithWebIdentityResult><Credentials>"
                       "<AccessKeyId>i</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
                       "<Expiration>2030-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>"
                       "</AssumeRoleWithWebIdentityResponse>");
  });
  Variables variables = {{"AWS_WEB_IDENTITY_TOKEN_FILE", file("jwt", "the+jwt\n")},
                         {"AWS_ROLE_ARN", "arn:aws:iam::1:role/x"},
                         {"AWS_ENDPOINT_URL_STS", server.url()}};
  const auto keys = fetch(variables).value();
  EXPECT_EQ(keys.value.token, "t");
  EXPECT_EQ(keys.expires, from_iso8601("2030-01-01T00:00:00Z"));
  for (const auto& request : server.requests()) EXPECT_THAT(request.path, Not(HasSubstr("jwt")));
  variables["AWS_ROLE_ARN"] = "another";
  const auto refused = fetch(variables);
  EXPECT_EQ(refused.error().code, ErrorCode::denied);
  EXPECT_THAT(refused.error().message, HasSubstr("AccessDenied"));
}

}  // namespace
}  // namespace hearth::blob
