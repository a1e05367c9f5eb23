#include "mount/testing/prefilled_erofs.hpp"

#include "base/file.hpp"
#include "base/process.hpp"
#include "base/unique_fd.hpp"
#include "image/erofs_image.hpp"
#include "image/layer_reader.hpp"
#include "mount/erofs_mount.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <numeric>

namespace hearth::mount::testing {

namespace {

struct Files {
  UniqueFd image;
  std::vector<std::filesystem::path> device_paths;
  std::vector<UniqueFd> devices;
};

Result<> make_devices(const image::LayerIndex& index, const std::filesystem::path& prefix, Files& files) {
  for (uint32_t pack = 0; pack < index.pack_count(); ++pack) {
    const std::filesystem::path path = prefix.string() + "." + std::to_string(pack) + ".data";
    TRY(auto file, open_file(path, O_RDWR | O_CREAT | O_TRUNC, 0600));
    if (::ftruncate(file.get(), static_cast<off_t>(index.pack(pack).plain_size)) != 0)
      return fail_errno("make " + path.string(), errno);
    files.devices.push_back(std::move(file));
    files.device_paths.push_back(path);
  }
  return {};
}

Result<> fill_devices(const image::LayerReader& layer, const Files& files) {
  std::vector<uint32_t> all(layer.index().chunk_count());
  std::iota(all.begin(), all.end(), 0U);
  return layer.read_chunks(all, [&layer, &files](uint32_t chunk, std::string_view bytes) -> Result<> {
    const auto place = layer.index().location(chunk);
    const ssize_t written =
        ::pwrite(files.devices[place.pack].get(), bytes.data(), bytes.size(), static_cast<off_t>(place.plain_offset));
    if (written != static_cast<ssize_t>(bytes.size())) return fail_errno("fill a device", errno);
    return {};
  });
}

}  // namespace

Result<UniqueFd> PrefilledErofs::mount_layer(const LayerQuestion& question, const ProgressSink& /*progress*/) {
  TRY(const auto layer, image::LayerReader::open(store_, question.workspace, question.digest));
  TRY_VOID(make_directories(folder_, 0700));
  const auto prefix = folder_ / question.digest.hex();
  const std::filesystem::path image_path = prefix.string() + ".image";
  Files files;
  TRY(files.image, open_file(image_path, O_RDWR | O_CREAT | O_TRUNC, 0600));
  TRY_VOID(image::write_erofs(layer.index(), files.image.get()));
  TRY_VOID(make_devices(layer.index(), prefix, files));
  TRY_VOID(fill_devices(layer, files));
  TRY(const auto fault, fsck_erofs(image_path, files.device_paths));
  if (!fault.empty()) return fail(ErrorCode::corrupt, "fsck.erofs: " + fault);
  std::vector<int> devices;
  devices.reserve(files.devices.size());
  for (const auto& device : files.devices) devices.push_back(device.get());
  return mount_erofs(files.image.get(), devices);
}

bool erofs_is_mountable() {
  return ::geteuid() == 0 && UniqueFd(::fsopen("erofs", FSOPEN_CLOEXEC));
}

Result<std::string> fsck_erofs(const std::filesystem::path& image, const std::vector<std::filesystem::path>& devices) {
  const auto program = find_program("fsck.erofs");
  if (!program) return std::string();
  std::vector<std::string> args{*program};
  for (const auto& device : devices) args.push_back("--device=" + device.string());
  args.push_back(image.string());
  TRY(const auto done, run_process({.args = args}));
  return done.code == 0 ? std::string() : done.output;
}

}  // namespace hearth::mount::testing
