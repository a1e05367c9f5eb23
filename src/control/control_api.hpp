// The admin API, /api/v1: uploads, deployments, images, models, aliases, keys, logs, status. Contract:
// api/openapi.yaml.
#pragma once

#include "control/admin_call.hpp"

#include <memory>

namespace hearth::control {

/// Belongs to the host's loop; handlers run as tasks of that loop.
class ControlApi {
 public:
  explicit ControlApi(Host& host);
  ~ControlApi();

  /// Takes a request below /api/ whose caller is known.
  void handle(net::HttpRequest&& request, std::shared_ptr<net::HttpExchange> exchange, Caller caller);

 private:
  std::unique_ptr<Control> control_;
};

}  // namespace hearth::control
