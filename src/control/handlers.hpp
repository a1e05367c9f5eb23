// The admin API's routes, a .cpp file a resource. Each handler is a coroutine on the loop; errors become answers by
// the one table (base/error_table.hpp).
#pragma once

#include "control/admin_call.hpp"

namespace hearth::control {

using Answer = net::Task<Result<Reply>>;

// uploads.cpp
Answer post_upload_session(Control& control, CallPtr call);
Answer post_uploads_missing(Control& control, CallPtr call);
Answer put_upload(Control& control, CallPtr call);

// deployments.cpp
Answer post_deployment(Control& control, CallPtr call);

// images.cpp
Answer post_image(Control& control, CallPtr call);
Answer get_images(Control& control, CallPtr call);
Answer get_image(Control& control, CallPtr call);
Answer get_image_report(Control& control, CallPtr call);

// store.cpp
Answer post_store_du(Control& control, CallPtr call);
Answer post_store_gc(Control& control, CallPtr call);
Answer post_store_verify(Control& control, CallPtr call);

// models.cpp
Answer get_models(Control& control, CallPtr call);
Answer delete_model(Control& control, CallPtr call);
Answer get_cold_start(Control& control, CallPtr call);

// aliases.cpp
Answer get_aliases(Control& control, CallPtr call);
Answer put_alias(Control& control, CallPtr call);
Answer delete_alias(Control& control, CallPtr call);

// keys.cpp
Answer get_keys(Control& control, CallPtr call);
Answer post_key(Control& control, CallPtr call);
Answer delete_key(Control& control, CallPtr call);

// status.cpp
Answer get_status(Control& control, CallPtr call);
Answer get_usage(Control& control, CallPtr call);

// Streams answer by themselves (NDJSON); an error before the first line is answered like the others'.
Answer stream_operation(Control& control, CallPtr call);  // operation_stream.cpp
Answer stream_logs(Control& control, CallPtr call);       // logs.cpp

}  // namespace hearth::control
