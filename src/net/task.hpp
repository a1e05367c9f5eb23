// Task<T>: the coroutine type of Hearth. Runs on one EventLoop, never moves to another thread.
#pragma once

#include <boost/asio/awaitable.hpp>

namespace hearth::net {

template <class T = void>
using Task = boost::asio::awaitable<T>;

}  // namespace hearth::net
