#include "router/http_caller.hpp"

namespace hearth::router {

HttpCaller::HttpCaller(net::EventLoop& loop, const std::string& address) {
  auto channel = net::ByteChannel::connect_tcp(loop, address);
  CHECK_PROMISE(channel.has_value());
  channel_ = std::move(*channel);
  channel_->start({.on_data = [this](std::string_view bytes) { receive(bytes); }, .on_close = [](const Error&) {}});
}

HttpCaller::~HttpCaller() {
  close();
}

void HttpCaller::close() {
  if (channel_) channel_->close();
  channel_.reset();
}

std::shared_ptr<CallerResponse> HttpCaller::send(const CallerRequest& request) {
  std::string text = request.method + " " + request.path +
                     " HTTP/1.1\r\nHost: test\r\nContent-Length: " + std::to_string(request.body.size()) + "\r\n";
  for (const auto& [name, value] : request.headers) text += name + ": " + value + "\r\n";
  response_ = std::make_shared<CallerResponse>();
  channel_->write(text + "\r\n" + request.body);
  return response_;
}

void HttpCaller::receive(std::string_view bytes) {
  input_ += bytes;
  const size_t end = input_.find("\r\n\r\n");
  if (end == std::string::npos || !response_) return;
  std::map<std::string, std::string> headers;
  size_t at = input_.find("\r\n") + 2;
  while (at < end + 2) {
    const size_t line_end = input_.find("\r\n", at);
    const size_t colon = input_.find(':', at);
    headers[input_.substr(at, colon - at)] = input_.substr(colon + 2, line_end - colon - 2);
    at = line_end + 2;
  }
  const size_t size = std::stoul(headers["Content-Length"]);
  if (input_.size() < end + 4 + size) return;
  response_->headers = std::move(headers);
  response_->body = input_.substr(end + 4, size);
  response_->status = std::stoi(input_.substr(9, 3));
  input_.erase(0, end + 4 + size);
  response_.reset();
}

}  // namespace hearth::router
