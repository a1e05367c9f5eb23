// libfuse's header as Hearth uses it: included by the .cpp files of the FUSE back end alone.
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
