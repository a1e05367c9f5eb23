// Result<T>: how ordinary failure travels. Exceptions are for broken promises and lack of memory only.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace hearth {

/// The few canonical reasons for failure. One table (error_table.hpp) maps them to HTTP and exit status.
enum class ErrorCode {
  invalid_argument,   // the caller's input is wrong; repeating it cannot help
  not_found,          // the named thing does not exist
  already_exists,     // create-if-absent found it present
  denied,             // not allowed, or not authenticated
  unavailable,        // a dependency cannot be reached now; repeating may help
  deadline_exceeded,  // time ran out
  exhausted,          // a limit (queue, disk, memory, size) is reached
  corrupt,            // bytes do not match their digest, format or promise
  cancelled,          // the caller gave up
  internal,           // our own fault
};

/// Stable lower-case name of a code, e.g. "not_found".
std::string_view to_string(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::internal;
  std::string message;  // one sentence a user can act on; grows context in front on its way up
};

/// Value or Error. A dropped Result is a compile error under -Werror.
template <class T = void>
class [[nodiscard]] Result : public std::expected<T, Error> {
 public:
  using std::expected<T, Error>::expected;
};

using Unexpected = std::unexpected<Error>;

/// `return fail(ErrorCode::not_found, "no model named digits");`
inline Unexpected fail(ErrorCode code, std::string message) {
  return Unexpected(Error{code, std::move(message)});
}

/// Same error with context in front: "mount layer sha256:ab…: disk full".
inline Unexpected fail_with_context(std::string_view context, Error error) {
  error.message.insert(0, std::string(context) + ": ");
  return Unexpected(std::move(error));
}

/// Error from an errno value: picks the code, appends strerror. `what` says what was tried, on which thing.
Unexpected fail_errno(std::string_view what, int errno_value);

/// Stops the process with a message: for states that cannot happen if the program is right.
[[noreturn]] void broken_promise(std::string_view what, const char* file, int line);

}  // namespace hearth

#define HEARTH_CONCAT_INNER(a, b) a##b
#define HEARTH_CONCAT(a, b) HEARTH_CONCAT_INNER(a, b)

/// `TRY(auto bytes, read_file(path));` declares `bytes` or returns the error.
#define TRY(declaration, expression) TRY_INNER(HEARTH_CONCAT(try_result_, __LINE__), declaration, expression)
#define TRY_INNER(temporary, declaration, expression)                        \
  auto temporary = (expression);                                             \
  if (!temporary) return ::hearth::Unexpected(std::move(temporary).error()); \
  declaration = std::move(*temporary)

/// `TRY_VOID(write_file(path, bytes));` returns the error, if any.
#define TRY_VOID(expression) TRY_VOID_INNER(HEARTH_CONCAT(try_result_, __LINE__), expression)
#define TRY_VOID_INNER(temporary, expression) \
  if (auto temporary = (expression); !temporary) return ::hearth::Unexpected(std::move(temporary).error())

/// The same inside coroutines: `CO_TRY(auto bytes, co_await read(stream));`
#define CO_TRY(declaration, expression) CO_TRY_INNER(HEARTH_CONCAT(try_result_, __LINE__), declaration, expression)
#define CO_TRY_INNER(temporary, declaration, expression)                        \
  auto temporary = expression;                                                  \
  if (!temporary) co_return ::hearth::Unexpected(std::move(temporary).error()); \
  declaration = std::move(*temporary)

#define CO_TRY_VOID(expression) CO_TRY_VOID_INNER(HEARTH_CONCAT(try_result_, __LINE__), expression)
#define CO_TRY_VOID_INNER(temporary, expression) \
  auto temporary = expression;                   \
  if (!temporary) co_return ::hearth::Unexpected(std::move(temporary).error())

/// An invariant. Unlike assert it is always on.
#define CHECK_PROMISE(condition) \
  (static_cast<bool>(condition) ? void(0) : ::hearth::broken_promise(#condition, __FILE__, __LINE__))
