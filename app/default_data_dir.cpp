#include "app/default_data_dir.hpp"

#include "client/endpoint.hpp"

namespace hearth::app {

std::string default_data_dir() {
  return "/var/lib/hearth";
}

std::string known_data_dir() {
  const auto context = client::read_context(client::user_context_path());
  return context && !context->data_dir.empty() ? context->data_dir : default_data_dir();
}

}  // namespace hearth::app
