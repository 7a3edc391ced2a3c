# What a build can be: options, warnings, sanitizers, coverage.
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

option(Q8_TESTS "Build the tests (needs cmocka)" OFF)
option(Q8_WERROR "Warnings are errors" ON)
option(Q8_COVERAGE "Instrument for gcov" OFF)
set(Q8_ONEDNN AUTO CACHE STRING "CPU backend by oneDNN: AUTO, ON or OFF")
set(Q8_MPI AUTO CACHE STRING "Many machines by MPI: AUTO, ON or OFF")
set(Q8_OPENCL AUTO CACHE STRING "GPU backend by OpenCL and CLBlast: AUTO, ON or OFF")
set(Q8_SANITIZE "" CACHE STRING "Sanitizers, e.g. address,undefined or thread")

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_library(q8-flags INTERFACE)
target_compile_definitions(q8-flags INTERFACE _POSIX_C_SOURCE=200809L _DEFAULT_SOURCE _GNU_SOURCE)
target_compile_options(q8-flags INTERFACE -Wall -Wextra -Wshadow -Wpointer-arith -Wwrite-strings
  -Wstrict-prototypes -Wmissing-prototypes -Wvla -fno-math-errno)
if(Q8_WERROR)
  target_compile_options(q8-flags INTERFACE -Werror)
endif()
# The same bits on every machine: no fused multiply-add unless written, no reassociation.
target_compile_options(q8-flags INTERFACE -ffp-contract=off)
if(Q8_SANITIZE)
  target_compile_options(q8-flags INTERFACE -fsanitize=${Q8_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(q8-flags INTERFACE -fsanitize=${Q8_SANITIZE})
endif()
if(Q8_COVERAGE)
  target_compile_options(q8-flags INTERFACE --coverage)
  target_link_options(q8-flags INTERFACE --coverage)
endif()
