# cmake -DOUT=FILE.c -DNAME=SYMBOL -DIN=A;B;... -P embed.cmake: the files' text, one after the other,
# as a C string. Compilers take long strings only as arrays of characters.
set(bytes)
foreach(file ${IN})
  file(READ ${file} hex HEX)
  string(APPEND bytes ${hex})
endforeach()
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE ${OUT} "extern const char ${NAME}[];\nconst char ${NAME}[] = {${bytes}0};\n")
