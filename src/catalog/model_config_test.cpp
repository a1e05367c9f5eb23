#include "catalog/model_config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hearth::catalog {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

constexpr std::string_view kFull = R"(
[model]
name = "digits"
handler = "pkg.model:predict"
setup = "model:setup"
ready = "model:ready"
mode = "batch"
preload = true

[image]
base = "docker://python:3.11-slim"
python_packages = ["scikit-learn==1.5.2"]
requirements = "requirements.txt"
wheels = "wheels/"
system_packages = ["libgomp1", "g++"]
env = { OMP_NUM_THREADS = "1" }

[artifacts]
"weights.safetensors" = "files/weights.safetensors"

[resources]
cpu = 2
memory = "2GiB"
pids = 100
tmp = "64MiB"
slots = 4
network = true

[timeouts]
request = "5s"
start = "1m"
idle_pause = "0s"
idle_stop = "2h"
)";

std::string error_of(std::string_view toml) {
  auto config = parse_model_config(toml);
  if (config) return "(no error)";
  EXPECT_EQ(config.error().code, ErrorCode::invalid_argument);
  return config.error().message;
}

/// A valid [model] section in lines 1 to 3, then the text.
std::string error_after_model(std::string_view more) {
  return error_of("[model]\nname = \"m\"\nhandler = \"model:predict\"\n" + std::string(more));
}

TEST(ModelConfig, EveryKeyIsRead) {
  auto config = parse_model_config(kFull);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->name, "digits");
  EXPECT_EQ(config->handler, "pkg.model:predict");
  EXPECT_EQ(config->setup, "model:setup");
  EXPECT_EQ(config->ready, "model:ready");
  EXPECT_EQ(config->mode, CallMode::batch);
  EXPECT_TRUE(config->preload);
  EXPECT_EQ(config->image.base, "docker://python:3.11-slim");
  EXPECT_EQ(config->image.python_packages, std::vector<std::string>{"scikit-learn==1.5.2"});
  EXPECT_EQ(config->image.requirements, "requirements.txt");
  EXPECT_EQ(config->image.wheels, "wheels/");
  EXPECT_EQ(config->image.system_packages, (std::vector<std::string>{"libgomp1", "g++"}));
  EXPECT_EQ(config->image.env.at("OMP_NUM_THREADS"), "1");
  EXPECT_EQ(config->artifacts.at("weights.safetensors"), "files/weights.safetensors");
  EXPECT_EQ(config->resources.cpu, 2.0);
  EXPECT_EQ(config->resources.memory_bytes, uint64_t{2} << 30);
  EXPECT_EQ(config->resources.pids, 100u);
  EXPECT_EQ(config->resources.tmp_bytes, uint64_t{64} << 20);
  EXPECT_EQ(config->resources.slots, 4u);
  EXPECT_TRUE(config->resources.network);
  EXPECT_EQ(config->timeouts.request, milliseconds(5'000));
  EXPECT_EQ(config->timeouts.start, milliseconds(60'000));
  EXPECT_EQ(config->timeouts.idle_pause, milliseconds(0));
  EXPECT_EQ(config->timeouts.idle_stop, milliseconds(7'200'000));
}

TEST(ModelConfig, TheModelSectionAloneGivesSafeDefaults) {
  auto config = parse_model_config("[model]\nname = \"m\"\nhandler = \"model:predict\"\n");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->mode, CallMode::row);
  EXPECT_EQ(config->image.base, "python");
  EXPECT_FALSE(config->resources.network);
  EXPECT_EQ(config->resources.slots, 1u);
  EXPECT_EQ(config->resources.memory_bytes, uint64_t{1} << 30);
  EXPECT_EQ(config->timeouts.request, milliseconds(30'000));
}

TEST(ModelConfig, JsonKeepsEveryValue) {
  auto config = parse_model_config(kFull);
  ASSERT_TRUE(config);
  auto back = model_config_from_json(model_config_to_json(*config));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(*back, *config);
}

TEST(ModelConfig, AnUnknownKeyNamesLineAndNearestKey) {
  EXPECT_EQ(error_of("[model]\nnmae = \"m\"\n"),
            "hearth.toml line 2: key model.nmae is not known; did you mean \"name\"?");
  EXPECT_EQ(error_after_model("[resuorces]\ncpu = 1\n"),
            "hearth.toml line 4: section [resuorces] is not known; did you mean \"resources\"?");
  EXPECT_THAT(error_after_model("[resources]\ngpu_kind_of_thing = 1\n"), HasSubstr("known are cpu, memory"));
  EXPECT_THAT(error_of("name = \"m\"\n"), HasSubstr("line 1: key name outside of any section"));
}

TEST(ModelConfig, SyntaxErrorsNameTheLine) {
  EXPECT_THAT(error_of("[model]\nname = \n"), HasSubstr("hearth.toml line 2"));
  EXPECT_THAT(error_of("[model\n"), HasSubstr("hearth.toml line 1"));
  EXPECT_THAT(error_of("[model]\nname = \"a\"\nname = \"b\"\n"), HasSubstr("hearth.toml line 3"));
}

TEST(ModelConfig, HeadersWithoutANameAreErrorsNotTheEnd) {
  for (std::string_view bad : {"\n[~", "[[", "[[~]]", "[a.~]", "[ ", "[\"", "a.~=1"}) {
    EXPECT_THAT(error_of(bad), HasSubstr("not valid TOML")) << bad;
  }
}

TEST(ModelConfig, EndlessNestingIsAnErrorNotTheEnd) {
  const auto repeated = [](std::string_view text, size_t count) {
    std::string out;
    for (size_t i = 0; i < count; ++i) out += text;
    return out;
  };
  for (const std::string& deep : {repeated("a.", 100'000) + "a = 1\n", "[" + repeated("a.", 100'000) + "a]\n",
                                  "a = " + repeated("[", 200'000), "a = " + repeated("{a=", 80'000)}) {
    EXPECT_FALSE(parse_model_config(deep));
  }
}

TEST(ModelConfig, LettersOfAnyScriptAreText) {
  auto config = parse_model_config("[model] # О\nname = \"m\" # О\nhandler = \"a:b\"\n[image]\nenv = { A = \"О\" }\n");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->image.env.at("A"), "О");
}

TEST(ModelConfig, WhatIsMissingIsNamedWithTheLineToAdd) {
  EXPECT_THAT(error_of(""), HasSubstr("model.name is missing: add name = "));
  EXPECT_THAT(error_of("[model]\nname = \"m\"\n"), HasSubstr("model.handler is missing: add handler = "));
}

TEST(ModelConfig, AHandlerIsModuleAndFunction) {
  for (std::string_view bad :
       {"predict", "model.py:predict()", "model:", ":f", "a b:f", "model:a.b", "1a:f", "a..b:f"}) {
    EXPECT_THAT(error_of("[model]\nname = \"m\"\nhandler = \"" + std::string(bad) + "\"\n"),
                HasSubstr("line 3: model.handler: \"" + std::string(bad) + "\" must look like module:function"));
  }
}

TEST(ModelConfig, ValuesOfTheWrongKindSayWhatIsExpected) {
  EXPECT_EQ(error_after_model("preload = \"yes\"\n"),
            "hearth.toml line 4: model.preload must be true or false without quotes, not a text");
  EXPECT_EQ(error_after_model("[resources]\nslots = \"2\"\n"),
            "hearth.toml line 5: resources.slots must be a whole number without quotes, not a text");
  EXPECT_THAT(error_after_model("[image]\npython_packages = \"numpy\"\n"), HasSubstr("must be a list of texts"));
  EXPECT_THAT(error_after_model("[image]\npython_packages = [\n1]\n"),
              HasSubstr("line 6: each item of image.python_packages"));
  EXPECT_THAT(error_after_model("[image]\nenv = { A = 1 }\n"), HasSubstr("image.env.A must be a text in quotes"));
  EXPECT_THAT(error_after_model("[resources]\nmemory = \"lots\"\n"), HasSubstr("line 5: resources.memory: 'lots'"));
  EXPECT_THAT(error_after_model("[timeouts]\nrequest = 30\n"), HasSubstr("a duration in quotes, as in \"30s\""));
  EXPECT_THAT(error_after_model("mode = \"rows\"\n"), HasSubstr("must be \"row\", \"batch\" or \"dataframe\""));
  EXPECT_THAT(error_after_model("image = 3\n"), HasSubstr("key model.image"));
  EXPECT_THAT(error_of("image = 3\n[model]\nname = \"m\"\nhandler = \"a:b\"\n"), HasSubstr("image must be a section"));
}

TEST(ModelConfig, ValuesOutOfRangeAreRefused) {
  for (std::string_view bad : {"cpu = 0", "cpu = nan", "cpu = -1", "memory = \"1MiB\"", "memory = -1", "slots = 0",
                               "slots = 5000", "pids = 1", "pids = -5", "tmp = \"0\""}) {
    EXPECT_THAT(error_after_model("[resources]\n" + std::string(bad) + "\n"), HasSubstr("line 5: resources.")) << bad;
  }
  EXPECT_THAT(error_after_model("[timeouts]\nrequest = \"0s\"\n"), HasSubstr("line 5: timeouts.request"));
  EXPECT_THAT(error_after_model("[timeouts]\nstart = \"9999d\"\n"), HasSubstr("line 5: timeouts.start"));
}

TEST(ModelConfig, PathsStayInsideTheFolder) {
  for (std::string_view bad : {"../secret", "/etc/passwd", "a/../../b", "a//b", ".", ""}) {
    EXPECT_THAT(error_after_model("[artifacts]\n\"w\" = \"" + std::string(bad) + "\"\n"),
                HasSubstr("line 5: artifacts.w"))
        << bad;
  }
  EXPECT_THAT(error_after_model("[artifacts]\n\"../w\" = \"w\"\n"), HasSubstr("below the code folder"));
  EXPECT_THAT(error_after_model("[artifacts]\n\"a\" = \"x\"\n\"a/b\" = \"y\"\n"), HasSubstr("inside another artifact"));
  EXPECT_THAT(error_after_model("[image]\nwheels = \"../wheels\"\n"), HasSubstr("inside the folder"));
}

TEST(ModelConfig, NothingInItCanBecomeAnOptionOrLeakACredential) {
  EXPECT_THAT(error_after_model("[image]\npython_packages = [\"--index-url=http://x\"]\n"),
              HasSubstr("options of pip"));
  EXPECT_THAT(error_after_model("[image]\npython_packages = [\"a @ https://u:pw@host/a.whl\"]\n"),
              HasSubstr("must not hold credentials"));
  EXPECT_THAT(error_after_model("[image]\nbase = \"docker://u:pw@host/a\"\n"), HasSubstr("must not hold credentials"));
  EXPECT_THAT(error_after_model("[image]\nsystem_packages = [\"-o Foo\"]\n"), HasSubstr("Debian package names"));
  EXPECT_THAT(error_after_model("[image]\nsystem_packages = [\"foo-\"]\n"), HasSubstr("Debian package names"));
  EXPECT_THAT(error_after_model("[image]\nenv = { HEARTH_RUNNER = \"x\" }\n"), HasSubstr("Hearth's own"));
  EXPECT_THAT(error_after_model("[image]\nenv = { \"A=B\" = \"x\" }\n"), HasSubstr("no name of a variable"));
}

TEST(ModelConfig, StoredJsonIsReadStrictly) {
  auto config = parse_model_config(kFull);
  ASSERT_TRUE(config);
  std::string json = model_config_to_json(*config);
  EXPECT_EQ(model_config_from_json("[]").error().code, ErrorCode::corrupt);
  EXPECT_EQ(model_config_from_json("{").error().code, ErrorCode::corrupt);
  const size_t at = json.find("\"slots\":4");
  ASSERT_NE(at, std::string::npos);
  json.replace(at, 9, "\"slots\":-4");
  auto broken = model_config_from_json(json);
  ASSERT_FALSE(broken);
  EXPECT_THAT(broken.error().message, HasSubstr("\"slots\""));
}

}  // namespace
}  // namespace hearth::catalog
