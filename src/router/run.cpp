#include "base/log.hpp"
#include "record/record_writer.hpp"
#include "router/router.hpp"

#include <csignal>

namespace hearth::router {

std::filesystem::path spool_of(const Config& config) {
  return config.directory / "spool";
}

Result<> run(const Config& config, const MakeAdmin& make_admin) {
  TRY(std::shared_ptr<blob::ObjectStore> store, blob::open_store(config.store));
  TRY(const std::unique_ptr<record::RecordWriter> records,
      record::RecordWriter::open({.directory = spool_of(config)}, store));
  net::EventLoop loop;
  TRY(std::unique_ptr<Router> router, Router::start(loop, config, store, make_admin));
  router->record_to([&records](const record::RequestRecord& record) { records->append(record); });
  log_info("serving", {{"address", router->address()}});
  net::Timer patience;
  loop.on_signals({SIGTERM, SIGINT}, [&](int) {
    log_info("draining");
    patience = loop.call_after(config.drain, [&loop] { loop.stop(); });
    router->drain([&loop] { loop.stop(); });
  });
  loop.run(seconds(2));
  patience.cancel();
  router.reset();
  return {};
}

}  // namespace hearth::router
