// hearth image inspect: layers, sizes, sharing, compression and start profiles of an image.
#include "app/image_command.hpp"
#include "app/remote.hpp"
#include "base/quantity.hpp"

#include <algorithm>

namespace hearth::app {

namespace {

using nlohmann::json;

struct Options {
  Remote remote;
  std::string name;
};

std::string bytes_of(const json& object, const char* name) {
  return format_bytes(count_of(object, name));
}

std::string formatted(const char* format, double value) {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string share(uint64_t part, uint64_t whole) {
  return whole == 0 ? "-" : formatted("%.0f %%", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string joined(const json& names) {
  std::string out;
  for (const json& name : names) {
    if (name.is_string()) out += (out.empty() ? "" : ", ") + name.get<std::string>();
  }
  return out;
}

void print_line(const char* name, const std::string& text) {
  if (!text.empty()) std::printf("%-13s %s\n", name, text.c_str());
}

void print_record(const json& image) {
  print_line("Image", text_of(image, "name"));
  print_line("Source", text_of(image, "source"));
  print_line("Created", text_of(image, "created").substr(0, 19));
  print_line("Python", text_of(image, "python"));
  const json details = image.value("details", json::object());
  if (details.is_object() && count_of(details, "source_layers") > 0) {
    print_line("Merged from", std::to_string(count_of(details, "source_layers")) + " layers");
  }
}

void print_layers(const json& layers) {
  std::vector<std::vector<std::string>> rows = {
      {"LAYER", "DIGEST", "FILES", "CONTENT", "UNIQUE", "STORED", "RATIO", "PACKS", "SHARED", "USED BY"}};
  for (const json& layer : layers) {
    const json any = layer.value("shared", json::object()).value("any", json::object());
    rows.push_back({text_of(layer, "role"), text_of(layer, "digest").substr(0, 19),
                    std::to_string(count_of(layer, "files")), bytes_of(layer, "content_bytes"),
                    bytes_of(layer, "unique_bytes"), bytes_of(layer, "stored_bytes"),
                    formatted("%.2f", number_of(layer, "compression_ratio")), std::to_string(count_of(layer, "packs")),
                    share(count_of(any, "stored_bytes"), count_of(layer, "stored_bytes")),
                    joined(layer.value("users", json::array()))});
  }
  print_table(rows);
}

void print_sharing(const json& layers) {
  std::vector<std::vector<std::string>> rows = {{"SHARES", "OF IT STORED ONCE", "WITH LAYER", "OF"}};
  uint64_t left_out = 0;
  for (const json& layer : layers) {
    const json shared = layer.value("shared", json::object());
    left_out += count_of(shared, "left_out_layers");
    json with = shared.value("with", json::array());
    std::sort(with.begin(), with.end(),
              [](const json& a, const json& b) { return count_of(a, "stored_bytes") > count_of(b, "stored_bytes"); });
    for (const json& other : with) {
      rows.push_back({bytes_of(other, "stored_bytes"), bytes_of(other, "stored_once_bytes"),
                      text_of(other, "layer").substr(0, 19), joined(other.value("users", json::array()))});
    }
  }
  if (rows.size() > 1) {
    std::printf("\n");
    print_table(rows);
  }
  if (left_out > 0) std::printf("%lu more layers were not compared.\n", static_cast<unsigned long>(left_out));
}

void print_profiles(const json& profiles) {
  std::printf("\n");
  if (profiles.empty()) {
    std::printf("No start of this image was recorded yet.\n");
    return;
  }
  std::vector<std::vector<std::string>> rows = {
      {"PROFILE", "STARTS", "BUNDLE", "PAGES", "RECALL", "PRECISION", "WAITS", "WAITED"}};
  for (const json& profile : profiles) {
    const json bundle = profile.value("bundle", json());
    const json last = profile.value("last", json::object());
    const bool has_bundle = bundle.is_object();
    const auto percent = [&last](const char* name) { return formatted("%.0f %%", 100 * number_of(last, name)); };
    rows.push_back({text_of(profile, "key"), std::to_string(count_of(profile, "starts")),
                    has_bundle ? bytes_of(bundle, "streamed_bytes") : "-",
                    has_bundle ? std::to_string(count_of(bundle, "pages")) : "-", percent("recall"),
                    percent("precision"), std::to_string(count_of(last, "demand_waits")),
                    std::to_string(count_of(last, "waited_ms")) + " ms"});
  }
  print_table(rows);
}

Result<> inspect_image(const Options& options) {
  TRY(auto api, options.remote.open());
  const std::string path = "/api/v1/images/" + client::url_escape(options.name);
  TRY(auto body, api.get(path));
  TRY(auto image, parse_reply(body));
  TRY(auto report_body, api.get(path + "/report"));
  TRY(auto report, parse_reply(report_body));
  if (options.remote.json) {
    image["report"] = report;
    std::printf("%s\n", image.dump(-1, ' ', false, json::error_handler_t::replace).c_str());
    return {};
  }
  print_record(image);
  std::printf("\n");
  const json layers = report.value("layers", json::array());
  print_layers(layers);
  print_sharing(layers);
  print_profiles(report.value("profiles", json::array()));
  return {};
}

}  // namespace

void add_image_inspect(CLI::App& image) {
  auto options = std::make_shared<Options>();
  CLI::App* inspect =
      image.add_subcommand("inspect", "Show an image's layers, sizes, sharing, compression and start profiles");
  inspect->add_option("name", options->name, "Image")->required();
  inspect->footer(
      "Content is what its files hold; unique without equal chunks; stored after compression. Shared is what of the\n"
      "stored bytes other images or models of the workspace have as well. Recall and precision are of the last start:\n"
      "how much of what it asked for its bundle held, and how much of the bundle it asked for.");
  add_remote_options(*inspect, options->remote);
  on_run(*inspect, [options] { return finish(inspect_image(*options)); });
}

}  // namespace hearth::app
