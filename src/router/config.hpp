// What a router process is told at its start.
#pragma once

#include "base/clock.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace hearth::router {

struct Config {
  int listen_fd = -1;               // an already listening socket handed down; else
  std::string listen;               // "127.0.0.1:8080"
  std::string store;                // a directory or a URL: the object store
  std::string redis;                // socket of the fleet's Redis; may be empty
  std::vector<std::string> nodes;   // sockets of nodes known from the start
  std::filesystem::path directory;  // the spool of logs and usage
  std::string url;                  // under which clients reach this router; empty: as the client's Host header says
  uint64_t body_limit_bytes = uint64_t{32} << 20;  // beyond it 413; below the wire's frame limit
  Duration longest_timeout = seconds(300);         // cap of timeout_seconds, unless the model's own is longer
  Duration node_return = seconds(10);              // how long requests wait for a node that went away
  Duration catalog_refresh = seconds(2);
  Duration drain = seconds(8);  // at SIGTERM: for requests that are being answered
};

}  // namespace hearth::router
