# Fuzz targets, tests/fuzz/*.c. Every test build replays what they have found and the seeds; with
# Q8_FUZZ (clang only) they are also linked with libFuzzer. See scripts/fuzz.sh.
option(Q8_FUZZ "Build the fuzz targets with libFuzzer (needs clang)" OFF)

if(Q8_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES Clang)
    message(FATAL_ERROR "Q8_FUZZ=ON needs clang: -DCMAKE_C_COMPILER=clang")
  endif()
  target_compile_options(q8-flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

set(Q8_FUZZ_DIR ${CMAKE_CURRENT_SOURCE_DIR}/tests/fuzz)

# q8_fuzz_target(NAME [MAIN FILE] [SOURCES FILE...] [SEEDS PATH...]): tests/fuzz/NAME.c, or FILE there,
# run on tests/fuzz/corpus/NAME and more. Q8_FUZZ_TARGET is the name.
function(q8_fuzz_target name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "MAIN" "SEEDS;SOURCES")
  if(NOT arg_MAIN)
    set(arg_MAIN ${name}.c)
  endif()
  set(kinds)
  if(Q8_TESTS)
    list(APPEND kinds replay)
  endif()
  if(Q8_FUZZ)
    list(APPEND kinds fuzz)
  endif()
  foreach(kind ${kinds})
    set(program ${kind}_${name})
    add_executable(${program} ${Q8_FUZZ_DIR}/${arg_MAIN} ${Q8_FUZZ_DIR}/fuzz.c
      ${Q8_FUZZ_DIR}/arena.c ${arg_SOURCES})
    target_include_directories(${program} PRIVATE src)
    target_compile_definitions(${program} PRIVATE Q8_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
      Q8_FUZZ_TARGET="${name}")
    target_link_libraries(${program} PRIVATE q8 q8-flags)
  endforeach()
  if(Q8_FUZZ)
    target_compile_definitions(fuzz_${name} PRIVATE Q8_FUZZER=1)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  endif()
  if(Q8_TESTS)
    target_sources(replay_${name} PRIVATE ${Q8_FUZZ_DIR}/replay.c)
    add_test(NAME replay_${name} COMMAND replay_${name} ${Q8_FUZZ_DIR}/corpus/${name} ${arg_SEEDS})
    set_tests_properties(replay_${name} PROPERTIES LABELS unit TIMEOUT 300)
  endif()
endfunction()

if(Q8_FUZZ OR Q8_TESTS)
  set(Q8_FUZZ_NETWORK ${Q8_FUZZ_DIR}/network.c tests/tools/random_weights.c)
  set(Q8_FUZZ_GENERATE ${Q8_FUZZ_NETWORK} ${Q8_FUZZ_DIR}/text.c ${Q8_FUZZ_DIR}/generate.c
    ${Q8_FUZZ_DIR}/layers.c ${Q8_FUZZ_DIR}/compare.c)
  q8_fuzz_target(prototxt SOURCES ${Q8_FUZZ_NETWORK} SEEDS ${CMAKE_CURRENT_SOURCE_DIR}/tests/corpus)
  q8_fuzz_target(convert SOURCES ${Q8_FUZZ_GENERATE} SEEDS ${CMAKE_CURRENT_SOURCE_DIR}/tests/corpus)
  q8_fuzz_target(caffemodel)
  q8_fuzz_target(ncnn)
  q8_fuzz_target(bin)
  # A target a format: a finding or a slow input of one does not take the others' time.
  foreach(format jpeg png webp bmp pnm)
    q8_fuzz_target(picture_${format} MAIN picture.c)
  endforeach()
  q8_fuzz_target(mean)
  q8_fuzz_target(npy MAIN mean.c)
  q8_fuzz_target(table)
  q8_fuzz_target(stats)
  q8_fuzz_target(lists)
endif()

# Inputs too large to keep.
if(Q8_TESTS)
  add_executable(fuzz_hostile ${Q8_FUZZ_DIR}/hostile.c ${Q8_FUZZ_DIR}/fuzz.c)
  target_include_directories(fuzz_hostile PRIVATE src)
  target_link_libraries(fuzz_hostile PRIVATE q8 q8-flags)
  add_test(NAME fuzz_hostile COMMAND fuzz_hostile)
  set_tests_properties(fuzz_hostile PROPERTIES LABELS unit TIMEOUT 300)
endif()

# The structured generator of the target convert, without libFuzzer: so many networks.
if(Q8_TESTS)
  add_executable(fuzz_generated ${Q8_FUZZ_DIR}/generated.c ${Q8_FUZZ_DIR}/convert.c
    ${Q8_FUZZ_DIR}/fuzz.c ${Q8_FUZZ_DIR}/arena.c ${Q8_FUZZ_GENERATE})
  target_include_directories(fuzz_generated PRIVATE src)
  target_compile_definitions(fuzz_generated PRIVATE Q8_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_link_libraries(fuzz_generated PRIVATE q8 q8-flags)
  add_test(NAME fuzz_generated COMMAND fuzz_generated 200)
  set_tests_properties(fuzz_generated PROPERTIES LABELS unit TIMEOUT 300)
endif()
