// hearth image mount|umount: an image as a folder of this machine, through the imagefs that runs here.
#include "app/image_command.hpp"
#include "app/remote.hpp"
#include "app/supervisor/layout.hpp"
#include "client/endpoint.hpp"
#include "client/progress.hpp"
#include "container/layer_stack.hpp"
#include "mount/imagefs_client.hpp"

#include <filesystem>

namespace hearth::app {

namespace {

constexpr seconds kRecordWithin{10};

struct Options {
  Remote remote;
  std::string data_dir;
  std::string name;
  std::string folder;
  std::string profile;
};

Result<std::filesystem::path> imagefs_socket(const Options& options) {
  std::string data_dir = options.data_dir;
  if (data_dir.empty()) {
    TRY(auto context, client::read_context(client::user_context_path()));
    data_dir = context.data_dir;
  }
  return supervisor::locate(data_dir).socket("imagefs");
}

Result<mount::LayerRequest> layer_of(const Options& options) {
  TRY(auto api, options.remote.open());
  TRY(auto body, api.get("/api/v1/images/" + client::url_escape(options.name)));
  TRY(auto image, parse_reply(body));
  mount::LayerRequest request;
  request.workspace = image.value("workspace", "default");
  TRY(request.digest, Digest::parse(text_of(image.value("layer", nlohmann::json::object()), "digest")));
  request.profile = options.profile;
  return request;
}

Result<> mount_image(const Options& options) {
  std::error_code error;
  if (!std::filesystem::is_directory(options.folder, error)) {
    return fail(ErrorCode::invalid_argument, options.folder + " is not a folder; make it first");
  }
  if (container::is_mount_point(options.folder)) {
    return fail(ErrorCode::already_exists, "something is mounted at " + options.folder + " already");
  }
  TRY(auto socket, imagefs_socket(options));
  TRY(auto request, layer_of(options));
  client::Progress progress;
  progress.phase("mount", 0, "B");
  request.on_progress = [&progress](const mount::LayerProgress& now) {
    progress.set_total(now.total_bytes);
    progress.advance_to(now.done_bytes);
  };
  TRY(auto layer, mount::ImagefsClient(socket).layer(request));
  std::vector<UniqueFd> layers;
  layers.push_back(std::move(layer));
  container::StackOptions as_in_the_image;
  as_in_the_image.devices = container::Devices::visible;
  TRY(auto stacked, container::stack_layers(std::move(layers), as_in_the_image));
  TRY_VOID(container::attach_mount(stacked.get(), options.folder));
  progress.finish();
  if (options.remote.json) {
    std::printf("%s\n", nlohmann::json{{"image", options.name}, {"dir", options.folder}}.dump().c_str());
  }
  return {};
}

/// What was read of the image since it was mounted is what the next such start will read.
Result<> end_recording(const Options& options) {
  TRY(auto socket, imagefs_socket(options));
  TRY(auto request, layer_of(options));
  request.deadline = Deadline::after(mono_now(), kRecordWithin);
  return mount::ImagefsClient(socket).recorded(request);
}

Result<> unmount_image(const Options& options) {
  if (!container::is_mount_point(options.folder)) {
    return fail(ErrorCode::not_found, "nothing is mounted at " + options.folder);
  }
  return container::detach_mount(options.folder);
}

}  // namespace

void add_image_mount(CLI::App& image) {
  auto options = std::make_shared<Options>();
  CLI::App* mount = image.add_subcommand("mount", "Mount an image read-only (root, on the machine of 'hearth up')");
  mount->add_option("name", options->name, "Image")->required();
  mount->add_option("dir", options->folder, "Folder to mount it at")->required();
  mount->add_option("--data-dir", options->data_dir, "Data directory of 'hearth up' (else the context's)");
  mount->add_option("--profile", options->profile,
                    "Names what will read it: what such a start read before is fetched ahead, this one is recorded");
  add_remote_options(*mount, options->remote);
  on_run(*mount, [options] { return finish(mount_image(*options)); });
  CLI::App* recorded = image.add_subcommand("recorded", "Say that a start from 'image mount --profile' is over");
  recorded->add_option("name", options->name, "Image")->required();
  recorded->add_option("--profile", options->profile, "As given to 'image mount'")->required();
  recorded->add_option("--data-dir", options->data_dir, "Data directory of 'hearth up' (else the context's)");
  add_remote_options(*recorded, options->remote);
  on_run(*recorded, [options] { return finish(end_recording(*options)); });
  CLI::App* umount = image.add_subcommand("umount", "Unmount an image");
  umount->add_option("dir", options->folder, "Folder it is mounted at")->required();
  umount->add_flag("--json", options->remote.json, "Print JSON for programs on standard output");
  on_run(*umount, [options] { return finish(unmount_image(*options)); });
}

}  // namespace hearth::app
