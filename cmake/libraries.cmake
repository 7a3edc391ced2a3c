# Libraries, found once; q8-libraries carries them all. The protobuf-c code is generated here.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(JPEG REQUIRED IMPORTED_TARGET libjpeg)
pkg_check_modules(PNG REQUIRED IMPORTED_TARGET libpng)
pkg_check_modules(WEBP IMPORTED_TARGET libwebp)
find_program(PROTOC_C protoc-c REQUIRED)

add_library(q8-libraries INTERFACE)
target_link_libraries(q8-libraries INTERFACE PkgConfig::PROTOBUF_C PkgConfig::JPEG PkgConfig::PNG
  Threads::Threads m)
if(WEBP_FOUND)
  target_link_libraries(q8-libraries INTERFACE PkgConfig::WEBP)
  target_compile_definitions(q8-libraries INTERFACE Q8_HAVE_WEBP=1)
endif()

if(NOT Q8_ONEDNN STREQUAL OFF)
  # Not by oneDNN's CMake config: Debian's wants OpenCL's headers, which the CPU engine does not need.
  find_library(Q8_DNNL_LIBRARY dnnl)
  find_path(Q8_DNNL_INCLUDE oneapi/dnnl/dnnl.h)
  if(Q8_DNNL_LIBRARY AND Q8_DNNL_INCLUDE)
    # Debian's oneDNN runs on libgomp; each worker thread tells it to stay single-threaded.
    target_link_libraries(q8-libraries INTERFACE ${Q8_DNNL_LIBRARY} gomp)
    target_include_directories(q8-libraries SYSTEM INTERFACE ${Q8_DNNL_INCLUDE})
    target_compile_definitions(q8-libraries INTERFACE Q8_HAVE_ONEDNN=1)
  elseif(Q8_ONEDNN STREQUAL ON)
    message(FATAL_ERROR "Q8_ONEDNN=ON, but oneDNN was not found (Debian: libdnnl-dev)")
  else()
    message(STATUS "oneDNN not found: the float network will run in plain C, slowly")
  endif()
endif()

# The GPU: an ICD loader, its headers, and CLBlast for products of matrices.
set(Q8_CL_FOUND FALSE)
if(NOT Q8_OPENCL STREQUAL OFF)
  find_library(Q8_CL_LIBRARY OpenCL)
  find_path(Q8_CL_INCLUDE CL/cl.h)
  find_library(Q8_CLBLAST_LIBRARY clblast)
  find_path(Q8_CLBLAST_INCLUDE clblast_c.h)
  if(Q8_CL_LIBRARY AND Q8_CL_INCLUDE AND Q8_CLBLAST_LIBRARY AND Q8_CLBLAST_INCLUDE)
    set(Q8_CL_FOUND TRUE)
    message(STATUS "OpenCL (${Q8_CL_LIBRARY}) and CLBlast (${Q8_CLBLAST_LIBRARY}) found: --gpu 1 is built")
    target_link_libraries(q8-libraries INTERFACE ${Q8_CLBLAST_LIBRARY} ${Q8_CL_LIBRARY})
    target_include_directories(q8-libraries SYSTEM INTERFACE ${Q8_CL_INCLUDE} ${Q8_CLBLAST_INCLUDE})
    target_compile_definitions(q8-libraries INTERFACE Q8_HAVE_OPENCL=1 CL_TARGET_OPENCL_VERSION=120)
  elseif(Q8_OPENCL STREQUAL ON)
    message(FATAL_ERROR "Q8_OPENCL=ON, but OpenCL or CLBlast was not found (Debian: "
      "ocl-icd-opencl-dev opencl-c-headers libclblast-dev)")
  else()
    message(STATUS "OpenCL or CLBlast not found: --gpu 1 will not work")
  endif()
endif()

# Only the program knows of MPI, not the library.
if(NOT Q8_MPI STREQUAL OFF)
  find_package(MPI QUIET COMPONENTS C)
  if(MPI_C_FOUND)
    add_library(q8-mpi INTERFACE)
    target_link_libraries(q8-mpi INTERFACE MPI::MPI_C)
    target_compile_definitions(q8-mpi INTERFACE Q8_HAVE_MPI=1)
  elseif(Q8_MPI STREQUAL ON)
    message(FATAL_ERROR "Q8_MPI=ON, but no MPI was found (Debian: libopenmpi-dev openmpi-bin)")
  else()
    message(STATUS "MPI not found: the program will not share its work among machines")
  endif()
endif()

# Generated messages: compiled without our warnings, seen as a system header.
set(Q8_PROTO_DIR ${CMAKE_CURRENT_BINARY_DIR}/proto)
file(MAKE_DIRECTORY ${Q8_PROTO_DIR})
set(Q8_PROTO_C)
foreach(schema caffe weights)
  add_custom_command(
    OUTPUT ${Q8_PROTO_DIR}/${schema}.pb-c.c ${Q8_PROTO_DIR}/${schema}.pb-c.h
    COMMAND ${PROTOC_C} --c_out=${Q8_PROTO_DIR} -I${CMAKE_CURRENT_SOURCE_DIR}/proto
            ${CMAKE_CURRENT_SOURCE_DIR}/proto/${schema}.proto
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/proto/${schema}.proto VERBATIM)
  list(APPEND Q8_PROTO_C ${Q8_PROTO_DIR}/${schema}.pb-c.c)
endforeach()
add_library(q8-proto STATIC ${Q8_PROTO_C})
target_include_directories(q8-proto SYSTEM PUBLIC ${Q8_PROTO_DIR})
target_link_libraries(q8-proto PUBLIC PkgConfig::PROTOBUF_C)
target_link_libraries(q8-libraries INTERFACE q8-proto)
