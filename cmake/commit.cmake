# Writes OUTPUT, a header that defines DROPKIT_COMMIT as the commit of SOURCE, when it differs from what is there.
# Run as a script (cmake -P) in every build. "unknown" outside a git checkout; a copy of the sources inside another
# repository is one of these, whose commit says nothing of dropkit.
# safe.directory: in containers the checkout often belongs to another user.
set(git git -c safe.directory=* -C ${SOURCE})
execute_process(COMMAND ${git} rev-parse --show-toplevel
  OUTPUT_VARIABLE top OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
execute_process(COMMAND ${git} describe --always --dirty --abbrev=12
  OUTPUT_VARIABLE commit RESULT_VARIABLE failed OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
file(REAL_PATH "${SOURCE}" source)
if(failed OR NOT top STREQUAL source)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#define DROPKIT_COMMIT \"${commit}\"\n")
