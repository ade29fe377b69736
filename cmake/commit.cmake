# Writes OUTPUT, a header that defines DROPKIT_COMMIT as the commit of SOURCE, when it differs from what is there.
# Run as a script (cmake -P) in every build. "unknown" outside a git checkout.
# safe.directory: in containers the checkout often belongs to another user.
execute_process(COMMAND git -c safe.directory=* -C ${SOURCE} describe --always --dirty --abbrev=12
  OUTPUT_VARIABLE commit RESULT_VARIABLE failed OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(failed)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#define DROPKIT_COMMIT \"${commit}\"\n")
