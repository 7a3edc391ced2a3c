/** `caffe-int8-to-ncnn show`: a network as a table. */
#ifndef Q8_TOOL_SHOW_H
#define Q8_TOOL_SHOW_H

/** The subcommand; `argv[0]` is its name. @return the program's exit status */
int show_main(int argc, char **argv);

#endif
