#include "mount/worker_threads.hpp"

#include <system_error>
#include <utility>

namespace hearth::mount {

namespace {

void* run(void* argument) {
  const std::unique_ptr<std::function<void()>> work(static_cast<std::function<void()>*>(argument));
  (*work)();
  return nullptr;
}

}  // namespace

void WorkerThreads::start(int count, const std::function<void()>& work) {
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, kStackBytes);
  int error = 0;
  for (int i = 0; i < count && error == 0; ++i) {
    auto argument = std::make_unique<std::function<void()>>(work);
    pthread_t thread{};
    error = ::pthread_create(&thread, &attributes, &run, argument.get());
    if (error != 0) break;
    (void)argument.release();  // the thread's now
    threads_.push_back(thread);
  }
  ::pthread_attr_destroy(&attributes);
  // As std::thread does; with some threads already there is no need to give up.
  if (error != 0 && threads_.empty()) throw std::system_error(error, std::generic_category(), "start a thread");
}

void WorkerThreads::join() {
  for (const pthread_t thread : std::exchange(threads_, {})) ::pthread_join(thread, nullptr);
}

}  // namespace hearth::mount
