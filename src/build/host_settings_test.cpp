#include "build/host_settings.hpp"

#include "base/file.hpp"
#include "base/random_id.hpp"
#include "build/pip_settings.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hearth::build {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

TEST(PipSettings, FilesAndVariablesAreMergedAsPipDoes) {
  PipLayers layers;
  layers.add_file("[global]\nindex-url = https://one/\ntimeout: 5\nfind-links =\n  /a\n  /b\n[freeze]\ntimeout = 1\n");
  layers.add_file("# comment\n[install]\nindex_url = https://two/\n");
  layers.add_file("[global]\nindex-url = https://three/\n");
  layers.add_variable("PIP_TIMEOUT", "9");
  layers.add_variable("PIP_CONFIG_FILE", "/x");
  const PipOptions merged = layers.merged();
  EXPECT_EQ(merged.at("index-url"), "https://two/");
  EXPECT_EQ(merged.at("timeout"), "9");
  EXPECT_EQ(merged.at("find-links"), " /a /b");
  EXPECT_FALSE(merged.contains("config-file"));
}

TEST(SecretMask, CredentialsOfUrlsAndNetrcAreMaskedWhereverTheyStand) {
  SecretMask mask;
  mask.learn("index-url = https://user:s3cr%40et@host/simple\nmachine h login me password hunter22\n");
  mask.learn("https://token1234@host/");
  EXPECT_EQ(mask.masked("get https://user:s3cr%40et@host/x now"), "get https://****@host/x now");
  EXPECT_EQ(mask.masked("plain s3cr@et and hunter22 and token1234."), "plain **** and **** and ****.");
  EXPECT_EQ(mask.masked("https://new:unknown@h/a?x=http://k@b/ see a@b"), "https://****@h/a?x=http://****@b/ see a@b");
  EXPECT_EQ(mask.masked("mail me@host, https://host/a@b"), "mail me@host, https://host/a@b");
}

class HostSettingsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("hearth-settings-" + random_id());
    sources_.root = folder_ / "host";
    sources_.home = folder_ / "host/home/me";
    std::filesystem::create_directories(sources_.home);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void host_file(const std::string& path, const std::string& text) {
    const auto file = sources_.root / path;
    std::filesystem::create_directories(file.parent_path());
    ASSERT_TRUE(write_file_atomic(file, text));
  }
  std::string collected(const std::string& name) { return read_file(folder_ / "out" / name).value_or("(none)"); }
  HostSettings collect() {
    auto settings = collect_host_settings(sources_, folder_ / "out");
    EXPECT_TRUE(settings) << settings.error().message;
    return settings ? std::move(*settings) : HostSettings{};
  }

  std::filesystem::path folder_;
  SettingsSources sources_;
};

TEST_F(HostSettingsTest, PipSeesIndexCredentialsAndCertificatesOfTheHost) {
  host_file("etc/pip.conf", "[global]\nindex-url = https://u:secretword@pip.example/simple\ncert = /etc/corp.pem\n");
  host_file("etc/corp.pem", "CORP");
  host_file("opt/wheels/a.whl", "");
  host_file("home/me/.config/pip/pip.conf", "[install]\nuser = true\ntrusted-host = pip.example\n");
  host_file("home/me/.netrc", "machine pip.example login u password netrcword\n");
  sources_.environment = {{"PIP_FIND_LINKS", "/opt/wheels https://x/"},
                          {"https_proxy", "http://p:proxyword@proxy:3128"}};
  const HostSettings settings = collect();
  const std::string pip = collected("pip.conf");
  EXPECT_THAT(pip, HasSubstr("index-url = https://u:secretword@pip.example/simple\n"));
  EXPECT_THAT(pip, HasSubstr("trusted-host = pip.example\n"));
  EXPECT_THAT(pip, AllOf(HasSubstr("cert = /hearth/build/file-0-corp.pem\n"), Not(HasSubstr("user = "))));
  EXPECT_EQ(collected("file-0-corp.pem"), "CORP");
  EXPECT_THAT(collected("netrc"), HasSubstr("netrcword"));
  EXPECT_THAT(settings.local_folders, testing::ElementsAre("/opt/wheels"));
  EXPECT_THAT(collected("env.sh"), HasSubstr("export https_proxy='http://p:proxyword@proxy:3128'\n"));
  for (const char* secret : {"secretword", "netrcword", "proxyword"}) {
    EXPECT_THAT(settings.mask.secrets(), Contains(secret));
    EXPECT_EQ(std::filesystem::status(folder_ / "out/pip.conf").permissions() & std::filesystem::perms::others_read,
              std::filesystem::perms::none);
  }
}

TEST_F(HostSettingsTest, AptSeesSourcesKeysAndCredentialsOfTheHost) {
  host_file("etc/os-release", "ID=debian\nVERSION_CODENAME=\"bookworm\"\n");
  host_file("etc/apt/sources.list", "deb [signed-by=/usr/share/keyrings/x.gpg arch=amd64] https://a.example/ s main\n");
  host_file("etc/apt/sources.list.d/y.sources",
            "Types: deb\nURIs: file:/srv/repo\nSigned-By: /etc/apt/keyrings/y.asc\n");
  host_file("etc/apt/sources.list.d/off.list.disabled", "deb https://off.example/ s main\n");
  host_file("usr/share/keyrings/x.gpg", "XKEY");
  host_file("etc/apt/keyrings/y.asc", "YKEY");
  host_file("etc/apt/auth.conf.d/a.conf", "machine a.example login u password aptword\n");
  host_file("etc/apt/trusted.gpg.d/t.asc", "TKEY");
  host_file("srv/repo/Packages", "");
  const HostSettings settings = collect();
  EXPECT_EQ(collected("apt/sources.list"),
            "deb [signed-by=/hearth/build/file-0-x.gpg arch=amd64] https://a.example/ s main\n");
  EXPECT_EQ(collected("file-0-x.gpg"), "XKEY");
  EXPECT_THAT(collected("apt/sources.list.d/y.sources"), HasSubstr("Signed-By: /hearth/build/file-1-y.asc"));
  EXPECT_EQ(collected("apt/sources.list.d/off.list.disabled"), "(none)");
  EXPECT_EQ(collected("apt/trusted.gpg.d/t.asc"), "TKEY");
  EXPECT_THAT(collected("apt/auth.conf.d/a.conf"), HasSubstr("aptword"));
  EXPECT_THAT(settings.mask.secrets(), Contains("aptword"));
  EXPECT_THAT(settings.local_folders, Contains("/srv/repo"));
  EXPECT_THAT(collected("apt.conf"), HasSubstr("Dir::Etc::sourcelist \"/hearth/build/apt/sources.list\";"));
  EXPECT_THAT(collected("apt-network.conf"), Not(HasSubstr("sourcelist")));
  EXPECT_THAT(collected("env.sh"), HasSubstr("export HEARTH_HOST_RELEASE='debian bookworm'\n"));
}

TEST_F(HostSettingsTest, AHostWithoutSettingsIsFine) {
  collect();
  EXPECT_THAT(collected("pip.conf"), HasSubstr("break-system-packages = true"));
}

}  // namespace
}  // namespace hearth::build
