// One authenticated request to the admin API, and what its handlers share.
#pragma once

#include "base/result.hpp"
#include "control/host.hpp"
#include "control/operation.hpp"
#include "control/upload_session.hpp"
#include "net/http_server.hpp"

#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hearth::control {

/// Where a request was let in.
struct Caller {
  std::string workspace;
  std::string key_id;
};

/// Held by shared_ptr while its handler runs.
struct AdminCall {
  net::HttpRequest request;
  std::shared_ptr<net::HttpExchange> exchange;
  Caller caller;
  std::vector<std::string> arguments;  // decoded values of {…} in the route, in order
};
using CallPtr = std::shared_ptr<AdminCall>;

struct Reply {
  int status = 200;
  std::string body;
};

/// What lives as long as the API.
struct Control {
  Host& host;
  OperationRegistry operations;
  std::shared_ptr<UploadSessions> uploads = std::make_shared<UploadSessions>();  // used in the pool
};

/// Runs blocking work in the pool.
template <class Function>
auto in_pool(Control& control, Function function) {
  return control.host.pool().run(std::move(function));
}

/// The value of a node's method, once it has ended. `operation` (may be null) gets its progress.
net::Task<Result<std::string>> ask_node(Control& control, std::string method, std::string params,
                                        std::shared_ptr<Operation> operation, Duration patience);

/// Returns when the snapshot holds what was just written.
net::Task<> refresh_catalog(Control& control);

/// Which of these upload parts the workspace does not have. Blocking.
Result<std::vector<std::string>> missing_uploads(blob::ObjectStore& store, const std::string& workspace,
                                                 const std::vector<std::string>& digests);
/// not_found when one of them is missing: whoever has the file sends it again. Blocking.
Result<> check_uploaded(blob::ObjectStore& store, const std::string& workspace,
                        const std::vector<std::string>& digests);

/// What the client says in "session": null without. not_found when there is none such. Blocking.
Result<std::shared_ptr<blob::Intent>> upload_session(UploadSessions& sessions, const nlohmann::json& body,
                                                     const std::string& workspace);
/// To be called when a node has used the uploads; null is nothing to do.
net::Task<> end_upload_session(Control& control, std::shared_ptr<blob::Intent> session);

/// `{"error","code"}` with the status of the one table.
Reply error_reply(const Error& error);

}  // namespace hearth::control
